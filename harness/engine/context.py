"""What a pipeline is given in `fit`: the implementation of `contract.Context`."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from harness.contract import Checkpoint, Pipeline, State, TrainedRun
from harness.engine.cache import Cache
from harness.engine.distributed import SINGLE_PROCESS, Processes
from harness.engine.observer import RunObserver
from harness.engine.resources import Stopwatch, Usage, free_memory_bytes
from harness.errors import UserError
from harness.files import as_tensors, load_arrays, save_arrays
from harness.render.text import printable

T = TypeVar("T")
CHECKPOINT_SECONDS = 120.0  # a killed run loses at most this much work, and the stage it was in


class MemoryCheckpoint:
    """A checkpoint that lives as long as this object: for tests and runs without a folder."""

    def __init__(self) -> None:
        self.arrays: State | None = None

    def save(self, arrays: State) -> None:
        tensors = as_tensors(arrays)  # as a run checks them, which writes a file
        self.arrays = {
            name: tensors[name] if hasattr(value, "detach") else copy(value)
            for name, value in arrays.items()
        }

    def load(self) -> State | None:
        return self.arrays

    def due(self) -> bool:
        return False


class FileCheckpoint:
    """`checkpoint/state.safetensors` of a run folder, replaced in one step.

    The context's own progress (curves, notes, time) travels in the header.
    """

    def __init__(self, folder: Path, context: RunContext) -> None:
        self.path = folder / "state.safetensors"
        self.context = context
        self.saved_at = time.monotonic()
        self.resumed = False  # whether the progress of an earlier process is restored already

    def save(self, arrays: State) -> None:
        if self.context.rank == 0:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            save_arrays(self.path, arrays, {"context": json.dumps(self.context.progress_so_far())})
        self.saved_at = time.monotonic()
        self.resumed = True

    def load(self) -> State | None:
        if not self.path.exists():
            return None
        try:
            arrays, header = load_arrays(self.path)
            if not self.resumed:
                self.context.restore(json.loads(header["context"]))
        except MemoryError:
            raise
        except Exception as error:  # safetensors has errors of its own
            raise UserError(
                f"{self.path} cannot be read ({error}); delete it, and the run begins anew"
            ) from error
        self.resumed = True
        return arrays

    def due(self) -> bool:
        return time.monotonic() - self.saved_at > CHECKPOINT_SECONDS


def _no_runs(run: str) -> TrainedRun:
    raise UserError(f"there are no runs on record here, so none called {run!r}")


def _score_nothing(pipeline: Pipeline) -> None:
    return None


@dataclass(frozen=True)
class RunServices:
    """What a run offers its context; the defaults keep nothing and show nothing.

    Parameters
    ----------
    checkpoint_folder : Path or None
        None: the checkpoint lives in memory.
    cache : Cache or None
        None: every stage is computed.
    observer : RunObserver
        Receives curves and progress.
    keep_tune_scores : callable
        Scores the tune split with a pipeline and keeps the scores.
    load_run : callable
        Returns what a finished run has learned, by its id.
    """

    checkpoint_folder: Path | None = None
    cache: Cache | None = None
    observer: RunObserver = RunObserver()  # noqa: RUF009 (it has no state)
    keep_tune_scores: Callable[[Pipeline], None] = _score_nothing
    load_run: Callable[[str], TrainedRun] = _no_runs


class RunContext:
    """One run's context. Without arguments: one process on the CPU, nothing kept or shown."""

    def __init__(
        self,
        *,
        seed: int = 0,
        processes: Processes = SINGLE_PROCESS,
        services: RunServices | None = None,
    ) -> None:
        self.services = services or RunServices()
        self.seed = seed
        self.processes = processes
        self.device = processes.device
        self.rank = processes.rank
        self.world_size = processes.world_size
        self.sum = processes.sum
        self.broadcast = processes.broadcast
        self.gather = processes.stack
        folder = self.services.checkpoint_folder
        self.checkpoint: Checkpoint = FileCheckpoint(folder, self) if folder else MemoryCheckpoint()
        self.stopwatch = Stopwatch(processes.device)
        self.notes: list[str] = []
        self.curves: dict[str, list[tuple[int, float]]] = {}
        self.refitted = False
        self.load_run = self.services.load_run

    @property
    def cache_savings(self) -> Usage:
        """What the cache has saved so far."""
        return self.services.cache.saved if self.services.cache else Usage()

    def cache(self, key: Mapping[str, Any], make: Callable[[], State]) -> State:
        if self.services.cache is None:
            return make()
        shared_key = {**key, "rank": self.rank, "world": self.world_size}
        arrays = self.services.cache(shared_key, make)
        return {name: array.to(self.device) for name, array in arrays.items()}

    def free_memory(self) -> int:
        return int(self.processes.share(free_memory_bytes(self.device)))

    def log(self, name: str, value: float, step: int) -> None:
        self.curves.setdefault(name, []).append((int(step), float(value)))
        self.services.observer.epoch(name, float(value), step)

    def note(self, text: str) -> None:
        text = printable(text)
        if text not in self.notes:
            self.notes.append(text)

    def progress(
        self, items: Iterable[T], *, label: str, total: int | None = None, unit: str = "batch"
    ) -> Iterator[T]:
        return self.services.observer.progress(items, label=label, total=total, unit=unit)

    def score_tune(self, pipeline: Pipeline) -> None:
        self.refitted = True
        self.keep_tune_scores(pipeline)

    def keep_tune_scores(self, pipeline: Pipeline) -> None:
        """Score the tune split, outside the clock of the fit."""
        with self.stopwatch.paused():
            self.services.keep_tune_scores(pipeline)

    def progress_so_far(self) -> dict[str, Any]:
        """Return what a resumed run must know of the part that is done."""
        usage = self.stopwatch.usage
        # Only this process's time is at hand, and those that resume may be more or fewer.
        cpu_seconds = usage.cpu_seconds if self.world_size == 1 else math.nan
        return {
            "curves": self.curves,
            "notes": self.notes,
            "refitted": self.refitted,
            "seconds": usage.seconds,
            "cpu_seconds": cpu_seconds,
        }

    def restore(self, progress: Mapping[str, Any]) -> None:
        """Take over what `progress_so_far` of an earlier process returned."""
        self.curves = {
            name: [(int(step), float(value)) for step, value in points]
            for name, points in progress["curves"].items()
        }
        self.notes = list(dict.fromkeys([*progress["notes"], *self.notes]))
        self.refitted = bool(progress["refitted"])
        # Counted once, however many processes resume.
        cpu_seconds = float(progress["cpu_seconds"]) if self.rank == 0 else 0.0
        self.stopwatch.earlier += Usage(float(progress["seconds"]), cpu_seconds)
