"""What a run will take: from earlier runs, from a short probe here, or from published throughputs.

No number is given without one of the three.
"""

from __future__ import annotations

import time
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import torch

from harness.contract import Dataset, HasLayers, Pipeline, Plannable, Probe, Split
from harness.engine.context import RunContext, RunServices
from harness.engine.device import describe_machine, synchronize
from harness.engine.distributed import Processes
from harness.engine.observer import RunObserver
from harness.engine.outputs import batch_scores
from harness.engine.request import Request
from harness.engine.resources import PeakMemory
from harness.engine.scoring import SCORE_BATCH
from harness.errors import UserError
from harness.files import as_tensors
from harness.render.text import duration
from harness.runs.run_store import RunStore
from harness.spec import suggest

# A throughput of one network speaks for another whose multiply-adds differ by at most this share.
MULTIPLY_ADDS_TOLERANCE = 0.02
POOL_IMAGES = 256  # different random images; their content takes no time


@dataclass(frozen=True)
class Plan:
    """What a run will take; None where nothing is known.

    Parameters
    ----------
    throughput : str
        What the estimate is based on, in words.
    epochs : float
    images : int
        Training images per epoch.
    fit_seconds : (low, high)
        Preparation included.
    score_seconds : float
    running_bytes : int
        Disk space while the run goes on, without the dataset.
    kept_bytes : int
        The part of `running_bytes` that stays when the run has finished.
    memory_bytes : int
        Of one process.
    """

    throughput: str
    epochs: float
    images: int
    fit_seconds: tuple[float, float]
    score_seconds: float | None = None
    running_bytes: int | None = None
    kept_bytes: int | None = None
    memory_bytes: int | None = None


def expected_time(request: Request, *, fitted: bool = False) -> str:
    """Say how long a run will take, judged by earlier runs.

    Parameters
    ----------
    fitted : bool
        The pipeline's state is on record, and the run only scores.
    """
    spec, splits = request.spec, request.splits
    finished = RunStore(request.workspace.runs_folder).finished()
    known = [
        record.result
        for record in finished
        if record.state == "finished"
        and (record.result.pipeline, record.result.title) == (spec.pipeline, spec.title)
        and record.result.cost.score_seconds is not None
    ]
    if not known:
        unknown = "unknown: there is no earlier run of this pipeline on this dataset"
        return (None if fitted else _reference_time(request)) or unknown
    last = known[-1]
    fit_seconds = 0.0 if fitted else last.cost.fit_seconds * len(splits.train) / last.n_train
    score_seconds = (last.cost.score_seconds or 0.0) * len(splits.test) / last.n_test
    return f"about {duration(fit_seconds + score_seconds)}, judged by {last.run_id}"


def _reference_time(request: Request) -> str | None:
    """Return the time of this run on another machine, from `benchmarks/reference_times.toml`."""
    text = (files("benchmarks") / "reference_times.toml").read_text(encoding="utf-8")
    matches = request.workspace.registry.matches
    for entry in tomllib.loads(text).get("time", []):
        same_dataset = entry["title"] == request.spec.title and request.spec.limit is None
        if same_dataset and matches(entry["pipeline"], "pipeline", request.spec.pipeline):
            seconds, machine = duration(entry["seconds"]), entry["machine"]
            return f"{seconds} on {machine} ({entry['date']}); this machine may differ"
    return None


def plan_here(request: Request, processes: Processes, observer: RunObserver) -> Plan:
    """Plan a run by the pipeline's own probe and a timed batch of the test split, on this machine.

    Raises
    ------
    UserError
        If the pipeline cannot be probed.
    """
    pipeline = request.build()
    plannable = _require_plannable(pipeline, request.name)
    splits = request.splits
    with PeakMemory() as peak:
        probe = probe_fit(request, plannable, processes, observer)
        score_seconds = 0.0
        if request.spec.test:
            score_seconds = _estimate_score_seconds(pipeline, splits.test, processes)
    images, tune = len(splits.train), len(splits.tune) if splits.tune else 0
    epochs = plannable.epochs(images, splits.train.image_size)
    kept = _kept_bytes(pipeline, request)
    forward_images = images + tune / 3  # a forward pass is a third of a training step
    milliseconds = 1000 * probe.seconds_per_epoch / forward_images
    fit_seconds = probe.preparation_seconds + epochs * probe.seconds_per_epoch
    return Plan(
        throughput=f"{milliseconds:.3g} ms per training image, timed here ({_place(processes)})",
        epochs=epochs,
        images=images,
        fit_seconds=(fit_seconds, fit_seconds),
        score_seconds=score_seconds,
        # A new checkpoint is complete before the old one is deleted.
        running_bytes=kept + 2 * probe.checkpoint_bytes,
        kept_bytes=kept,
        memory_bytes=round(peak.megabytes * 2**20) + probe.unseen_bytes,
    )


def plan_on(hardware: str, request: Request) -> Plan:
    """Plan the fit by a published throughput of `benchmarks/throughputs.toml`.

    Raises
    ------
    UserError
        If the hardware is unknown, or the network is not the one that was measured on it.
    """
    known = throughputs()
    if hardware not in known:
        raise UserError(
            f"there is no published throughput of {hardware!r}{suggest(hardware, known)}; "
            f"available: {', '.join(known)}"
        )
    entry, pipeline, train = known[hardware], request.build(), request.splits.train
    plannable = _require_plannable(pipeline, request.name)
    _require_same_network(hardware, entry, pipeline, request)
    images = len(train)
    epochs = plannable.epochs(images, train.image_size)
    seconds = entry["seconds_per_image"]
    low, high = (epochs * images * each for each in seconds)
    milliseconds = " to ".join(f"{1000 * each:.3g}" for each in dict.fromkeys(seconds))
    throughput = (
        f"{milliseconds} ms per image on {entry['hardware']} ({entry['counts']}; {entry['source']})"
    )
    return Plan(throughput=throughput, epochs=epochs, images=images, fit_seconds=(low, high))


def throughputs() -> dict[str, Any]:
    """Return the published throughputs by the name of the hardware."""
    text = (files("benchmarks") / "throughputs.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def probe_fit(
    request: Request, pipeline: Plannable, processes: Processes, observer: RunObserver
) -> Probe:
    """Return what the fit takes here, by the pipeline's own `probe`."""
    splits = request.splits
    rank, world_size = processes.rank, processes.world_size
    store = RunStore(request.workspace.runs_folder)
    services = RunServices(
        observer=observer, load_run=lambda run_id: store.find(run_id).trained_run()
    )
    context = RunContext(seed=request.spec.seed, processes=processes, services=services)
    tune = splits.tune.sharded(rank, world_size) if splits.tune else None
    return pipeline.probe(splits.train.sharded(rank, world_size), tune, context)


def synthetic_dataset(
    images: int, *, test_images: int = 50_000, classes: int = 1000, side: int = 256
) -> Dataset:
    """Return a dataset of random pixels that takes no space, to plan for one that is not here.

    Parameters
    ----------
    images, test_images : int
        Number of labeled and of test images.
    side : int
        Height and width in pixels.

    Raises
    ------
    UserError
        If there are fewer than two images per class, of which one is held out for tuning.
    """
    if images < 2 * classes:
        raise UserError(
            f"images={images} is too few for classes={classes}: at least two per class, one of "
            "which is held out for tuning; give fewer classes"
        )
    names = [str(label) for label in range(classes)]

    def split(n: int, first: int) -> Split:
        return Split(
            keys=np.char.mod("%016x", np.arange(first, first + n)),
            labels=np.arange(n) % classes,
            class_names=names,
            images=_RandomImages(n, side),
            preparation="random",
        )

    return Dataset(f"{images:,} random images", split(images, 0), split(test_images, images))


class _RandomImages:
    """`data.images.Images`: `n` squares, of which `POOL_IMAGES` differ."""

    in_memory = True

    def __init__(self, n: int, side: int) -> None:
        self.image_size: tuple[int, int] | None = (side, side)
        self._n = n
        generator = torch.Generator().manual_seed(0)
        shape = (POOL_IMAGES, 3, side, side)
        self._pool = torch.randint(256, shape, dtype=torch.uint8, generator=generator)

    def __len__(self) -> int:
        return self._n

    def read(self, rows: np.ndarray) -> torch.Tensor:
        return self._pool[torch.from_numpy(rows % POOL_IMAGES)]


def _require_plannable(pipeline: Pipeline, name: str) -> Plannable:
    if not isinstance(pipeline, Plannable):
        raise UserError(
            f"{name} does not learn in epochs, of which a few could be timed; "
            "once it has run, `harness run` says what the last run took"
        )
    return pipeline


def _require_same_network(
    hardware: str, entry: dict[str, Any], pipeline: Pipeline, request: Request
) -> None:
    """Raise UserError unless the throughput was measured with a network of this name and size."""
    assert isinstance(pipeline, HasLayers)  # a network, since it is plannable
    train = request.splits.train
    layers = pipeline.layers(train.num_classes, train.image_size)
    multiply_adds = sum(layer["multiply_adds"] for layer in layers)
    difference = abs(multiply_adds / entry["multiply_adds"] - 1)
    if request.name != entry["pipeline"] or difference > MULTIPLY_ADDS_TOLERANCE:
        raise UserError(
            f"the throughput of {hardware} was measured with {entry['pipeline']} at "
            f"{entry['multiply_adds']:,} multiply-adds per view, and this is {request.name} at "
            f"{multiply_adds:,}; plan it here, without --on"
        )


def _estimate_score_seconds(pipeline: Pipeline, test: Split, processes: Processes) -> float:
    """Time one batch of the test split, the second time, for this process's share."""
    readable = test.take(np.flatnonzero(test.rows >= 0)[:SCORE_BATCH])

    def timed() -> float:
        started = time.perf_counter()
        batch = next(readable.batches(SCORE_BATCH, device=processes.device))
        batch_scores(pipeline, batch, test.num_classes)
        synchronize(processes.device)
        return time.perf_counter() - started

    timed()
    return timed() * len(test) / len(readable) / processes.world_size


def _kept_bytes(pipeline: Pipeline, request: Request) -> int:
    """Count the state, and per scored image its key, label and a float32 per class."""
    splits = request.splits
    kept = sum(array.nbytes for array in as_tensors(pipeline.state()).values())
    for split in (splits.tune, splits.test if request.spec.test else None):
        if split:
            kept += split.keys.nbytes + split.labels.nbytes + 4 * len(split) * split.num_classes
    return kept


def _place(processes: Processes) -> str:
    machine = describe_machine(processes.device, processes.world_size)
    unit = machine["cpu"] if machine["device"] == "cpu" else machine["device"]
    several = f", {processes.world_size} processes" if processes.world_size > 1 else ""
    return f"{unit}, {machine['cores']} cores{several}"
