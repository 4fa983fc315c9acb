"""A clock for stretches of work on a CPU or a GPU."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")


class DeviceClock:
    """Adds up the seconds of stretches of work.

    On a GPU the stretches are timed by CUDA events, which are read only in `take`, so that the host
    does not wait in between.
    """

    def __init__(self, device: torch.device) -> None:
        self._uses_events = device.type == "cuda"
        self._seconds = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Time the work inside this context."""
        if self._uses_events:
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            yield
            end.record()
            self._events.append((begin, end))
        else:
            started = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - started

    def time_items(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items, timing the wait for each on the host's clock."""
        iterator, exhausted = iter(items), object()
        while True:
            started = time.perf_counter()
            item = next(iterator, exhausted)
            self._seconds += time.perf_counter() - started
            if item is exhausted:
                return
            yield item  # type: ignore[misc]

    def take(self) -> float:
        """Return the seconds since the last call, once a GPU has finished the timed work."""
        if self._events:
            self._events[-1][1].synchronize()
        milliseconds = sum(begin.elapsed_time(end) for begin, end in self._events)
        seconds = self._seconds + milliseconds / 1000
        self._seconds, self._events = 0.0, []
        return seconds
