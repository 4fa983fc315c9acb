"""Standard output and error whose failures do not end a command.

A reader such as `head` closes its end early, a disk is full, a stream was closed by `>&-`, or a
name has no letters in the terminal's encoding: none of them may cost a run that takes hours.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TextIO


class _Sink(io.FileIO):
    """A descriptor that swallows what it cannot write, and keeps the reason."""

    failure: OSError | None = None

    def write(self, data: object) -> int:
        if self.failure is None:
            try:
                return super().write(data)  # type: ignore[arg-type]
            except BlockingIOError:
                raise
            except OSError as error:
                self.failure = error
        return len(memoryview(data))  # type: ignore[arg-type]


def protect_streams() -> None:
    """Put such streams in the place of the process's own; redirected ones stay as they are."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115, PTH123
    if sys.stdout is sys.__stdout__:
        sys.stdout = _protected(sys.stdout, 1)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _protected(sys.stderr, 2)


def output_failure() -> OSError | None:
    """Return why nothing more can be written to standard output; None while it can."""
    return _failure(sys.stdout)


def reader_is_gone() -> bool:
    """Return whether standard output is a pipe that nobody reads any more."""
    failure = output_failure()
    return failure is not None and failure.errno == errno.EPIPE


def _failure(stream: TextIO) -> OSError | None:
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw.failure if isinstance(raw, _Sink) else None


def _protected(stream: TextIO | None, descriptor: int) -> TextIO:
    if stream is None:  # closed; the lowest free number, so no other file gets it
        descriptor = os.open(os.devnull, os.O_WRONLY)
    elif isinstance(stream, io.TextIOWrapper):
        stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Sink(descriptor, "w", closefd=False)),
        encoding=getattr(stream, "encoding", "utf-8"),
        errors="backslashreplace",
        line_buffering=getattr(stream, "line_buffering", False),
        write_through=getattr(stream, "write_through", False),
    )
