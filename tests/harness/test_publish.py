"""A finished run stays finished whatever happens to its pictures and to MLflow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import Workspace
from harness.engine.observer import Observers
from harness.errors import UserError
from harness.publish import Publisher
from harness.report.run_summary import LogFile
from harness.runs.record import Record
from harness.runs.result import Result


@pytest.fixture
def record(make_run: Callable[..., tuple[Result, Path]], workdir: Path) -> Record:
    return Record(make_run(workdir)[1])


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return a function that publishes a record, with stand-ins, and returns the lines printed."""

    def run(record: Record, draw: Any, log: Any) -> list[str]:
        monkeypatch.setattr("harness.report.pictures.draw_pictures", draw)
        monkeypatch.setattr("harness.publish.log_finished_run", log)
        file = LogFile()
        observers = Observers([file])
        observers.observers.append(Publisher(Workspace.open().settings, observers))
        observers.finished(record, None)
        lines = [line for line in file.lines if line.startswith(("MLflow", "pictures"))]
        assert (record.folder / "log.txt").read_text().splitlines()[-len(lines) :] == lines
        return lines

    return run


def fail(error: Exception) -> Callable[..., Any]:
    def raise_error(*_: Any) -> None:
        raise error

    return raise_error


def test_links_to_mlflow_are_kept_and_printed(
    record: Record, publish: Callable[..., list[str]]
) -> None:
    links = SimpleNamespace(table="http://table", runs={record.run_id: "http://run"})
    lines = publish(record, lambda *_: None, lambda *_: links)
    assert lines == ["MLflow     http://table"]
    assert record.links == {"table": "http://table", "run": "http://run"}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UserError("no server"), "no server"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (KeyError("of a library"), "KeyError: 'of a library'"),
    ],
)
def test_a_run_that_cannot_be_logged_says_how_to_send_it_later(
    record: Record, publish: Callable[..., list[str]], error: Exception, reason: str
) -> None:
    (line,) = publish(record, lambda *_: None, fail(error))
    assert line.startswith(
        f"MLflow     not logged: {reason}; the record is kept in {record.folder}"
    )
    assert line.endswith("and harness sync sends it later")
    assert record.links == {}


def test_pictures_that_cannot_be_drawn_do_not_keep_a_run_from_mlflow(
    record: Record, publish: Callable[..., list[str]]
) -> None:
    links = SimpleNamespace(table="http://table", runs={record.run_id: "http://run"})
    lines = publish(record, fail(ValueError("no font")), lambda *_: links)
    assert lines == ["pictures   not drawn: ValueError: no font", "MLflow     http://table"]


def test_a_failed_run_is_marked_in_mlflow(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    def log(record: Record, settings: Any, **details: Any) -> None:
        told.append((record.run_id, details))

    monkeypatch.setattr("harness.publish.log_failed_run", log)
    publisher = Publisher(Workspace.open().settings, LogFile())
    publisher.failed(record, "out of memory", stopped=True)
    assert told == [(record.run_id, {"reason": "out of memory", "killed": True})]
