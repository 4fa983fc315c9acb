"""What a pipeline is handed in `fit`: the implementation of `contract.Context`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from harness.cache import Cache
from harness.contract import Checkpoint, Pipeline, State
from harness.distributed import ALONE, Processes
from harness.files import load_arrays, save_arrays

T = TypeVar("T")
CHECKPOINT_SECONDS = 120.0  # a killed run loses at most this much work and the stage it was in


class MemoryCheckpoint:
    """A checkpoint that lives as long as this object: for tests and for runs that leave no folder."""

    def __init__(self) -> None:
        self.arrays: State | None = None

    def save(self, arrays: State) -> None:
        self.arrays = {name: array.detach().clone() for name, array in arrays.items()}

    def load(self) -> State | None:
        return self.arrays

    def due(self) -> bool:
        return False


class FileCheckpoint:
    """The run folder's `checkpoint/state.safetensors`, replaced in one step."""

    def __init__(self, folder: Path, *, writes: bool) -> None:
        self.path = folder / "state.safetensors"
        self.writes = writes
        self.saved_at = time.monotonic()

    def save(self, arrays: State) -> None:
        if self.writes:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            save_arrays(self.path, arrays)
        self.saved_at = time.monotonic()

    def load(self) -> State | None:
        return load_arrays(self.path)[0] if self.path.exists() else None

    def due(self) -> bool:
        return time.monotonic() - self.saved_at > CHECKPOINT_SECONDS


def quiet_progress(items: Iterable[T], *, label: str, total: int | None = None, unit: str = "batch") -> Iterator[T]:
    """The items and not a word."""
    return iter(items)


class RunContext:
    """One run's context. Without arguments: this process alone, on the CPU, nothing kept, nothing shown."""

    def __init__(
        self,
        *,
        seed: int = 0,
        processes: Processes = ALONE,
        checkpoint: Checkpoint | None = None,
        cache: Cache | None = None,
        log: Callable[[str, float, int], None] | None = None,
        progress: Callable[..., Iterator[Any]] = quiet_progress,
        score_tune: Callable[[Pipeline], None] | None = None,
    ) -> None:
        self.seed = seed
        self.processes = processes
        self.device = processes.device
        self.rank = processes.rank
        self.world = processes.world
        self.sum = processes.sum
        self.broadcast = processes.broadcast
        self.checkpoint: Checkpoint = checkpoint or MemoryCheckpoint()
        self.progress = progress
        self.notes: list[str] = []
        self.curves: dict[str, list[tuple[int, float]]] = {}
        self.refitted = False
        self._cache = cache
        self._log = log
        self._score_tune = score_tune

    @property
    def cached_seconds(self) -> float:
        return self._cache.saved_seconds if self._cache else 0.0

    def cache(self, key: Mapping[str, Any], make: Callable[[], State]) -> State:
        if self._cache is None:
            return make()
        return self._cache({**key, "rank": self.rank, "world": self.world}, make)

    def log(self, name: str, value: float, step: int) -> None:
        self.curves.setdefault(name, []).append((step, float(value)))
        if self._log and self.rank == 0:
            self._log(name, float(value), step)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def refit(self, pipeline: Pipeline) -> None:
        self.refitted = True
        if self._score_tune:
            self._score_tune(pipeline)
