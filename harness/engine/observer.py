"""What happens in a run, told to whoever wants to know: terminal, log file, MLflow, a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from harness.contract import Pipeline
    from harness.engine.request import Request
    from harness.runs.record import Record

T = TypeVar("T")


class RunObserver:
    """Receives the events of a run. Every method does nothing by default; override what you need.

    Only process 0 of a run calls observers. An observer that raises ends the run.
    """

    def started(self, request: Request, record: Record, *, expected: str, resumed: bool) -> None:
        """Receive the request and the expected time, before any work is done."""

    def line(self, text: str) -> None:
        """Receive a line for the reader that belongs to no other event."""

    def epoch(self, name: str, value: float, step: int) -> None:
        """Receive one point of a curve, such as ("train/loss", 2.3, 0)."""

    def progress(
        self, items: Iterable[T], *, label: str, total: int | None = None, unit: str = "batch"
    ) -> Iterator[T]:
        """Yield the items; may show how many are done."""
        return iter(items)

    def finished(self, record: Record, pipeline: Pipeline | None) -> None:
        """Receive the finished record, and its pipeline unless the run is an ensemble."""

    def failed(self, record: Record, reason: str, *, stopped: bool) -> None:
        """Receive why a run did not finish; `stopped`: by the user."""


class Observers(RunObserver):
    """Passes every event on to several observers, in order."""

    def __init__(self, observers: Sequence[RunObserver] = ()) -> None:
        self.observers = list(observers)

    def started(self, request: Request, record: Record, *, expected: str, resumed: bool) -> None:
        for observer in self.observers:
            observer.started(request, record, expected=expected, resumed=resumed)

    def line(self, text: str) -> None:
        for observer in self.observers:
            observer.line(text)

    def epoch(self, name: str, value: float, step: int) -> None:
        for observer in self.observers:
            observer.epoch(name, value, step)

    def progress(
        self, items: Iterable[T], *, label: str, total: int | None = None, unit: str = "batch"
    ) -> Iterator[T]:
        if total is None and isinstance(items, Sized):
            total = len(items)
        shown = iter(items)
        for observer in self.observers:
            shown = observer.progress(shown, label=label, total=total, unit=unit)
        return shown

    def finished(self, record: Record, pipeline: Pipeline | None) -> None:
        for observer in self.observers:
            observer.finished(record, pipeline)

    def failed(self, record: Record, reason: str, *, stopped: bool) -> None:
        for observer in self.observers:
            with suppress(Exception):  # the others must still hear of the failure
                observer.failed(record, reason, stopped=stopped)
