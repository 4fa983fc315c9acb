"""Commands as they are typed, run in this process."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout

import pytest

from harness.cli import main


def run_command(*arguments: str, code: int = 0) -> str:
    output, exit_code = io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(output):
        patch.setattr(sys, "argv", ["harness", *arguments])
        try:
            main()
        except SystemExit as stop:
            exit_code = int(stop.code or 0)
    assert exit_code == code, output.getvalue()
    return output.getvalue()


@pytest.fixture(scope="session")
def harness() -> Callable[..., str]:
    """Return a function that runs a command and returns what it printed, errors included.

    It requires the exit code `code`, which is 0 unless given.
    """
    return run_command


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """List the runs that would be published; drawing and logging one takes seconds."""
    run_ids: list[str] = []
    finished = "harness.publish.Publisher.finished"
    monkeypatch.setattr(finished, lambda _, record, pipeline: run_ids.append(record.run_id))
    monkeypatch.setattr("harness.publish.Publisher.failed", lambda *_, **__: None)
    return run_ids
