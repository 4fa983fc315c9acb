"""What a pipeline is handed in `fit`: the implementation of `contract.Context`."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from harness.contract import Checkpoint, Pipeline, State, TrainedRun
from harness.engine.cache import Cache
from harness.engine.distributed import ALONE, Processes
from harness.engine.resources import Spent, Stopwatch
from harness.errors import UserError
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
    """The run folder's `checkpoint/state.safetensors`, replaced in one step. Carries the context's own facts along."""

    def __init__(self, folder: Path, context: RunContext) -> None:
        self.path = folder / "state.safetensors"
        self.context = context
        self.saved_at = time.monotonic()
        self.begun = False  # whether the context's facts are this process's own already

    def save(self, arrays: State) -> None:
        if self.context.rank == 0:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            save_arrays(self.path, arrays, {"context": json.dumps(self.context.facts())})
        self.saved_at = time.monotonic()
        self.begun = True

    def load(self) -> State | None:
        if not self.path.exists():
            return None
        arrays, facts = load_arrays(self.path)
        if not self.begun:
            self.context.restore(json.loads(facts["context"]))
        self.begun = True
        return arrays

    def due(self) -> bool:
        return time.monotonic() - self.saved_at > CHECKPOINT_SECONDS


def quiet_progress(
    items: Iterable[T], *, label: str, total: int | None = None, unit: str = "batch"
) -> Iterator[T]:
    """The items and not a word."""
    return iter(items)


def no_runs(run: str) -> TrainedRun:
    raise UserError(f"there are no runs on record here, so none called {run!r}")


class RunContext:
    """One run's context. Without arguments: this process alone, on the CPU, nothing kept, nothing shown."""

    def __init__(
        self,
        *,
        seed: int = 0,
        processes: Processes = ALONE,
        checkpoint_folder: Path | None = None,
        cache: Cache | None = None,
        progress: Callable[..., Iterator[Any]] = quiet_progress,
        keep_tune_scores: Callable[[Pipeline], None] = lambda pipeline: None,
        load_run: Callable[[str], TrainedRun] = no_runs,
    ) -> None:
        self.seed = seed
        self.processes = processes
        self.device = processes.device
        self.rank = processes.rank
        self.world_size = processes.world_size
        self.sum = processes.sum
        self.broadcast = processes.broadcast
        self.gather = processes.stack
        self.checkpoint: Checkpoint = (
            FileCheckpoint(checkpoint_folder, self) if checkpoint_folder else MemoryCheckpoint()
        )
        self.stopwatch = Stopwatch(processes.device)
        self.progress = progress
        self.notes: list[str] = []
        self.curves: dict[str, list[tuple[int, float]]] = {}
        self.refitted = False
        self._cache = cache
        self.keep_tune_scores = keep_tune_scores
        self.load_run = load_run

    @property
    def cached(self) -> Spent:
        return self._cache.saved if self._cache else Spent()

    def cache(self, key: Mapping[str, Any], make: Callable[[], State]) -> State:
        if self._cache is None:
            return make()
        arrays = self._cache({**key, "rank": self.rank, "world": self.world_size}, make)
        return {name: array.to(self.device) for name, array in arrays.items()}

    def log(self, name: str, value: float, step: int) -> None:
        self.curves.setdefault(name, []).append((step, float(value)))

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def score_tune(self, pipeline: Pipeline) -> None:
        self.refitted = True
        with self.stopwatch.paused():
            self.keep_tune_scores(pipeline)

    def facts(self) -> dict[str, Any]:
        """What a resumed run must know of the part that was done before."""
        spent = self.stopwatch.spent
        # Of several processes only the first one's is at hand here, and those that go on may be more or fewer.
        cpu_seconds = spent.cpu_seconds if self.world_size == 1 else math.nan
        done = {"curves": self.curves, "notes": self.notes, "refitted": self.refitted}
        return {**done, "seconds": spent.seconds, "cpu_seconds": cpu_seconds}

    def restore(self, facts: Mapping[str, Any]) -> None:
        self.curves = {
            name: [(int(step), float(value)) for step, value in points]
            for name, points in facts["curves"].items()
        }
        self.notes = list(dict.fromkeys([*facts["notes"], *self.notes]))
        self.refitted = bool(facts["refitted"])
        cpu_seconds = (
            float(facts.get("cpu_seconds", math.nan)) if self.rank == 0 else 0.0
        )  # once, however many processes go on
        self.stopwatch.earlier += Spent(float(facts["seconds"]), cpu_seconds)
