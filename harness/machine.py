"""The machine that a figure was measured on: what it is, and how much memory a run took on it."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from harness.errors import UserError


def choose_device(name: str) -> torch.device:
    """`auto` takes a GPU where there is one. Raises UserError for a device that is not here."""
    torch.backends.cudnn.allow_tf32 = (
        False  # where the recipe says float32, a GPU's convolutions are not of 10 bits either
    )
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    here = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if name not in here and not (name == "cuda" and torch.cuda.is_available()):
        why = (
            "Apple's GPUs have no float64, in which sums are taken here"
            if name == "mps"
            else "not on this machine"
        )
        raise UserError(f"--device {name}: {why}; there are: auto, {', '.join(here)}")
    return torch.device(name)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given, so that a clock may be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def moved(array: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """The array on the device. The host does not wait until a GPU has it: only pinned memory is copied beside the GPU's work."""
    if torch.device(device).type == "cuda" and array.device.type == "cpu":
        array = array.pin_memory()
    return array.to(device, non_blocking=True)


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


def describe_machine(device: torch.device, world: int) -> dict[str, Any]:
    """Processor, cores usable by this process, memory in GB, accelerator, system: what stands beside every time."""
    import psutil

    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processes": world,
        "system": platform.system(),
    }


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123 (not a file of ours)
            names = [
                line.partition(":")[2].strip() for line in file if line.startswith("model name")
            ]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


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
