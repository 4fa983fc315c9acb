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

SAMPLE_SECONDS = 0.1


@dataclass(frozen=True)
class Usage:
    """Wall-clock seconds, and processor seconds of all threads and child processes."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @classmethod
    def so_far(cls) -> Usage:
        """Return what this process has used; only differences have a meaning."""
        return cls(time.perf_counter(), cpu_seconds())

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds)

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.seconds - other.seconds, self.cpu_seconds - other.cpu_seconds)


class Stopwatch:
    """Measures usage since it was made, without pauses, plus what was used `earlier`.

    Every reading first waits for the device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.earlier = Usage()
        self._started = self._now()

    def _now(self) -> Usage:
        synchronize(self.device)
        return Usage.so_far()

    @property
    def usage(self) -> Usage:
        return self.earlier + (self._now() - self._started)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count what happens inside the block."""
        began = self._now()
        try:
            yield
        finally:
            self._started += self._now() - began


class PeakMemory:
    """Samples the resident memory of this process in the background, as a context manager.

    Attributes
    ----------
    megabytes : float
        The largest sample so far.
    """

    def __init__(self, interval_seconds: float = SAMPLE_SECONDS) -> None:
        self.interval_seconds = interval_seconds
        self.megabytes = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        import psutil

        process = psutil.Process()
        while True:
            self.megabytes = max(self.megabytes, process.memory_info().rss / 2**20)
            if self._stop.wait(self.interval_seconds):
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


def free_memory_bytes(device: torch.device) -> int:
    """Return the memory that this process may still use: its part of what is free on the machine.

    On a CPU, a limit of the control group (container, batch job) counts as well. The processes
    of a run on one machine, which torchrun counts in LOCAL_WORLD_SIZE, share it equally.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    free = min([psutil.virtual_memory().available, *_free_in_control_groups()])
    return max(0, free) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _free_in_control_groups(root: Path = Path("/sys/fs/cgroup")) -> Iterator[int]:
    """Yield what the limit of each control group (version 2) of this process leaves."""
    try:
        own = Path("/proc/self/cgroup").read_text().strip().rpartition("::/")[2]
    except OSError:
        return
    for folder in (root / own, *(root / own).parents):
        with suppress(OSError, ValueError):  # ValueError: the limit is "max"
            limit = int((folder / "memory.max").read_text())
            statistics = dict(
                line.split() for line in (folder / "memory.stat").read_text().splitlines()
            )
            used = int((folder / "memory.current").read_text())
            yield limit - used + int(statistics["inactive_file"])  # pages that can be dropped


def cpu_seconds() -> float:
    """Return user and system seconds of this process, with all its threads and children."""
    import psutil

    ended_children = sum(os.times()[2:4])
    total = time.process_time() + ended_children
    for child in _descendants(os.getpid()):
        with suppress(psutil.Error):
            total += sum(psutil.Process(child).cpu_times()[:4])
    return total


def _descendants(pid: int) -> list[int]:
    """Return the ids of all processes that descend from this one.

    Linux lists them by thread, in 0.1 ms; psutil looks at every process of the machine, which takes
    17 ms: too long where a clock is read.
    """
    import psutil

    child_lists = list(Path(f"/proc/{pid}/task").glob("*/children"))
    if not child_lists:
        with suppress(psutil.Error):
            return [child.pid for child in psutil.Process(pid).children(recursive=True)]
        return []
    descendants: list[int] = []
    for file in child_lists:
        with suppress(OSError):  # a thread that has ended
            for child in map(int, file.read_text().split()):
                descendants += [child, *_descendants(child)]
    return descendants
