"""Progress is shown on standard error, and the items pass through unchanged."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator

import pytest

from harness.progress import progress


class Clock:
    """A clock that advances by `step` seconds whenever it is read."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def set_clock(monkeypatch: pytest.MonkeyPatch, step: float) -> None:
    monkeypatch.setattr("harness.progress.time.monotonic", Clock(step))


def test_a_line_with_rate_and_time_left_is_written_every_15_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_clock(monkeypatch, 10.0)
    assert list(progress("abcd", label="scoring", unit="image")) == list("abcd")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "  scoring: 2 of 4, 0.1 image/s, 20.0 s left",
        "  scoring: 4 of 4, 0.1 image/s, 0.0 s left",
    ]


def test_without_a_total_the_time_left_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_clock(monkeypatch, 20.0)

    def items() -> Iterator[int]:
        yield from range(2)

    assert list(progress(items(), label="reading")) == [0, 1]
    assert capsys.readouterr().err.splitlines() == [
        "  reading: 1, 0.05 batch/s",
        "  reading: 2, 0.05 batch/s",
    ]


def test_short_work_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(range(3), label="reading")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(progress(range(3), label="reading")) == [0, 1, 2]
    assert "reading" in sys.stderr.getvalue()
