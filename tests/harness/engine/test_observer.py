"""Several observers of one run, and one that does nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.engine.observer import Observers, RunObserver
from harness.runs.record import Record

RECORD = Record(Path("runs/means-123456"))


class Recorder(RunObserver):
    """Keeps every event, with its own name in front."""

    def __init__(self, name: str, events: list[Any]) -> None:
        self.name = name
        self.events = events

    def started(self, request: Any, record: Any, **details: Any) -> None:
        self.events.append((self.name, "started", details))

    def line(self, text: str) -> None:
        self.events.append((self.name, text))

    def epoch(self, name: str, value: float, step: int) -> None:
        self.events.append((self.name, name, value, step))

    def progress(self, items: Iterable[Any], **details: Any) -> Iterator[Any]:
        self.events.append((self.name, details))
        return iter(items)

    def finished(self, record: Any, pipeline: Any) -> None:
        self.events.append((self.name, "finished", record, pipeline))

    def failed(self, record: Any, reason: str, *, stopped: bool) -> None:
        self.events.append((self.name, reason, stopped))


def test_every_observer_receives_every_event_in_order() -> None:
    events: list[Any] = []
    observers = Observers([Recorder("a", events), Recorder("b", events)])
    observers.started(None, RECORD, expected="a minute", resumed=False)
    observers.line("hello")
    observers.epoch("train/loss", 2.3, 0)
    observers.finished(RECORD, None)
    observers.failed(RECORD, "out of memory", stopped=False)
    started = {"expected": "a minute", "resumed": False}
    assert events == [
        ("a", "started", started),
        ("b", "started", started),
        ("a", "hello"),
        ("b", "hello"),
        ("a", "train/loss", 2.3, 0),
        ("b", "train/loss", 2.3, 0),
        ("a", "finished", RECORD, None),
        ("b", "finished", RECORD, None),
        ("a", "out of memory", False),
        ("b", "out of memory", False),
    ]


@pytest.mark.parametrize("silent_first", [False, True])
def test_progress_keeps_the_total_and_yields_each_item_once(silent_first: bool) -> None:
    """An observer in front of the one that shows progress hides the length of the items."""
    events: list[Any] = []
    observers = [Recorder("a", events), RunObserver()]
    shown = Observers(observers[:: -1 if silent_first else 1]).progress([1, 2, 3], label="scoring")
    assert list(shown) == [1, 2, 3]
    assert events == [("a", {"label": "scoring", "total": 3, "unit": "batch"})]


def test_a_total_that_is_given_is_passed_on() -> None:
    events: list[Any] = []
    observers = Observers([Recorder("a", events)])
    assert list(observers.progress(iter("ab"), label="reading", total=2, unit="image")) == [
        "a",
        "b",
    ]
    assert events == [("a", {"label": "reading", "total": 2, "unit": "image"})]


def test_an_observer_that_fails_does_not_keep_others_from_hearing_of_a_failure() -> None:
    class Failing(RunObserver):
        def failed(self, *_: Any, **__: Any) -> None:
            raise OSError(28, "No space left on device")

    events: list[Any] = []
    Observers([Failing(), Recorder("b", events)]).failed(RECORD, "out of memory", stopped=False)
    assert events == [("b", "out of memory", False)]


def test_without_observers_items_pass_through() -> None:
    assert list(Observers().progress(range(3), label="counting")) == [0, 1, 2]
    assert list(RunObserver().progress(range(3), label="counting")) == [0, 1, 2]
