"""The machine that a figure was measured on: what it is, and how much memory a run took on it."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import torch

from harness.errors import UserError


def choose_device(name: str) -> torch.device:
    """`auto` takes a GPU where there is one. Raises UserError for a device that is not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
    here = [
        "cpu",
        *(["mps"] if torch.backends.mps.is_available() else []),
        *(f"cuda:{i}" for i in range(torch.cuda.device_count())),
    ]
    if name not in here and not (name == "cuda" and torch.cuda.is_available()):
        raise UserError(f"--device {name}: not on this machine; it has: auto, {', '.join(here)}")
    return torch.device(name)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given, so that a clock may be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


class Stopwatch:
    """Seconds since it was made, less pauses, plus `earlier` ones; every reading waits for the device first."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.earlier = 0.0
        synchronize(device)
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        synchronize(self.device)
        return self.earlier + time.perf_counter() - self._started

    @contextmanager
    def paused(self) -> Iterator[None]:
        synchronize(self.device)
        began = time.perf_counter()
        try:
            yield
        finally:
            synchronize(self.device)
            self._started += time.perf_counter() - began


def describe_machine(device: torch.device, world: int) -> dict[str, Any]:
    """Processor, cores usable by this process, memory in GB, accelerator, system: what stands beside every time."""
    import psutil

    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processes": world,
        "system": platform.system(),
    }


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123 (not a file of ours)
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
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

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
