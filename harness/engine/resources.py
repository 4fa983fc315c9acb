"""Wall-clock time, processor time and memory that a run uses."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import torch

from harness.engine.device import synchronize


def cpu_seconds() -> float:
    """Seconds of processor that this process has taken so far, user and system, with all its threads and child processes."""
    import psutil

    total = time.process_time() + sum(os.times()[2:4])  # ours, and children that have ended
    for child in _below(os.getpid()):
        with suppress(psutil.Error):
            total += sum(psutil.Process(child).cpu_times()[:4])
    return total


def _below(process: int) -> list[int]:
    """The ids of all processes that descend from this one. Linux lists them by thread, in 0.1 ms; psutil looks at every process there is,
    which takes 17 ms, too long where a clock is read.
    """
    import psutil

    lists = list(Path(f"/proc/{process}/task").glob("*/children"))
    if not lists:
        with suppress(psutil.Error):
            return [child.pid for child in psutil.Process(process).children(recursive=True)]
        return []
    found: list[int] = []
    for file in lists:
        with suppress(OSError):  # a thread that has ended
            for child in map(int, file.read_text().split()):
                found += [child, *_below(child)]
    return found


@dataclass(frozen=True)
class Spent:
    """Seconds on the wall, and seconds of processor: of all threads and child processes, user and system."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @classmethod
    def so_far(cls) -> Spent:
        """By this process; only differences mean anything."""
        return cls(time.perf_counter(), cpu_seconds())

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.seconds - other.seconds, self.cpu_seconds - other.cpu_seconds)


class Stopwatch:
    """What was spent since it was made, less pauses, plus what was spent `earlier`; every reading waits for the device first."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.earlier = Spent()
        self._started = self._now()

    def _now(self) -> Spent:
        synchronize(self.device)
        return Spent.so_far()

    @property
    def spent(self) -> Spent:
        return self.earlier + (self._now() - self._started)

    @contextmanager
    def paused(self) -> Iterator[None]:
        began = self._now()
        try:
            yield
        finally:
            self._started += self._now() - began


class PeakMemory:
    """Samples the resident memory of this process in the background: `with PeakMemory() as peak: ...; peak.megabytes`."""

    def __init__(self, seconds: float = 0.1) -> None:
        self.seconds = seconds
        self.megabytes = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        import psutil

        process = psutil.Process()
        while True:
            self.megabytes = max(self.megabytes, process.memory_info().rss / 2**20)
            if self._stop.wait(self.seconds):
                return

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
