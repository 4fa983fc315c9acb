"""What a run will take: here, by timing a little of it; elsewhere, by a throughput that somebody published. No number without one of the two."""

from __future__ import annotations

import re
import time
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import torch

from harness.contract import Pipeline, Probe
from harness.data.split import Dataset, Split
from harness.engine.context import RunContext, quiet_progress
from harness.engine.device import describe_machine, synchronize
from harness.engine.distributed import Processes
from harness.engine.request import Request
from harness.engine.resources import PeakMemory
from harness.engine.scoring import SCORE_BATCH
from harness.errors import UserError
from harness.progress import progress
from harness.registry import Registry
from harness.render.text import duration, size
from harness.runs.run_store import RunStore
from harness.spec import format_spec, parse_spec, suggest

SAME = 0.02  # by which the multiply-adds of two networks may differ for a throughput of one to speak for the other
POOL = 256  # different random images: what is in them takes no time


@dataclass(frozen=True)
class Plan:
    """Times in seconds, sizes in bytes; None where nothing is known.

    fit        (low, high), preparation included
    running    on the disk while the run goes on, the dataset not counted
    kept       of that, when it has finished
    """

    throughput: str
    epochs: float
    images: int
    fit: tuple[float, float]
    score: float | None = None
    running: int | None = None
    kept: int | None = None
    memory: int | None = None


def plan_here(request: Request, group: Processes) -> Plan:
    """By the pipeline's probe and a timed batch of the test split, on this machine, by all processes together.

    Raises UserError for a pipeline that cannot be probed.
    """
    pipeline = _plannable(request.build(), request.name)
    splits = request.splits
    with PeakMemory() as peak:
        probe = probed(request, pipeline, group)
        score = _score_seconds(pipeline, splits.test, group) if request.test else 0.0
    images, tune = len(splits.train), len(splits.tune) if splits.tune else 0
    epochs = pipeline.epochs(images, splits.train.image_size)
    kept = sum(array.nbytes for array in pipeline.state().values())
    for split in (splits.tune, splits.test if request.test else None):
        if split:  # keys, labels and a float32 a class
            kept += split.keys.nbytes + split.labels.nbytes + 4 * len(split) * split.num_classes
    machine = describe_machine(group.device, group.world_size)
    place = f"{machine['cpu'] if machine['device'] == 'cpu' else machine['device']}, {machine['cores']} cores"
    place += f", {group.world_size} processes" if group.world_size > 1 else ""
    passed = images + tune / 3
    return Plan(
        throughput=f"{1000 * probe.seconds_per_epoch / passed:.3g} ms an image in training, timed here ({place})",
        epochs=epochs,
        images=images,
        fit=2 * (probe.preparation_seconds + epochs * probe.seconds_per_epoch,),
        score=score,
        running=kept
        + 2 * probe.checkpoint_bytes,  # a new checkpoint is whole before the old one goes
        kept=kept,
        memory=round(peak.megabytes * 2**20) + probe.unseen_bytes,
    )


def plan_on(
    hardware: str,
    pipeline: Any,
    name: str,
    *,
    images: int,
    classes: int,
    image_size: tuple[int, int] | None,
) -> Plan:
    """By a throughput of `benchmarks/throughputs.toml`: the time of the fit and nothing else.

    Raises UserError for hardware that is not on file, and for a network that was not measured on it.
    """
    known = throughputs()
    if hardware not in known:
        raise UserError(
            f"no throughput of {hardware!r} is on file{suggest(hardware, known)}; there are: {', '.join(known)}"
        )
    entry = known[hardware]
    _plannable(pipeline, name)
    multiply_adds = sum(layer["multiply_adds"] for layer in pipeline.layers(classes, image_size))
    if name != entry["pipeline"] or abs(multiply_adds / entry["multiply_adds"] - 1) > SAME:
        raise UserError(
            f"what is on file for {hardware} was measured with {entry['pipeline']} at {entry['multiply_adds']:,} multiply-adds a view, and this is "
            f"{name} at {multiply_adds:,}; plan it here, without --on"
        )
    epochs = pipeline.epochs(images, image_size)
    low, high = (epochs * images * seconds for seconds in entry["seconds_an_image"])
    each = " to ".join(
        f"{1000 * seconds:.3g}" for seconds in dict.fromkeys(entry["seconds_an_image"])
    )
    throughput = f"{each} ms an image on {entry['hardware']} ({entry['counts']}; {entry['source']})"
    return Plan(throughput=throughput, epochs=epochs, images=images, fit=(low, high))


def throughputs() -> dict[str, Any]:
    return tomllib.loads((files("benchmarks") / "throughputs.toml").read_text(encoding="utf-8"))


def plan_lines(plan: Plan) -> list[str]:
    """What `harness plan` says after the request."""
    fit = " to ".join(dict.fromkeys(duration(seconds) for seconds in plan.fit))
    lines = [
        f"throughput {plan.throughput}",
        f"fit        about {fit}: {round(plan.epochs, 2):g} epochs of {plan.images:,} images",
    ]
    if plan.score is not None:
        lines.append(f"score      about {duration(plan.score)}")
    if plan.running is not None and plan.kept is not None:
        lines.append(
            f"disk       {size(plan.running)} while it runs, {size(plan.kept)} kept: state and scores, the dataset not counted"
        )
    if plan.memory is not None:
        lines.append(f"memory     about {size(plan.memory)} a process")
    if plan.kept is None:
        lines.append("not known  score, disk and memory: for those plan it here, without --on")
    return lines


def imagined(images: int, test_images: int, classes: int, side: int) -> Dataset:
    """A dataset of random pixels that takes no place, however large: to plan for one that is not here."""
    names = [str(label) for label in range(classes)]

    def split(n: int, first: int) -> Split:
        keys = np.char.mod("%016x", np.arange(first, first + n))
        return Split(
            keys=keys,
            labels=np.arange(n) % classes,
            class_names=names,
            images=_RandomImages(n, side),
            preparation="random",
        )

    return Dataset(f"{images:,} random images", split(images, 0), split(test_images, images))


class _RandomImages:
    """`contract.Images`: `n` squares, POOL of them different."""

    in_memory = True

    def __init__(self, n: int, side: int) -> None:
        self.image_size: tuple[int, int] | None = (side, side)
        self._n = n
        self._pool = torch.randint(
            256,
            (POOL, 3, side, side),
            dtype=torch.uint8,
            generator=torch.Generator().manual_seed(0),
        )

    def __len__(self) -> int:
        return self._n

    def read(self, rows: np.ndarray) -> torch.Tensor:
        return self._pool[torch.from_numpy(rows % POOL)]


def _plannable(pipeline: Any, name: str) -> Any:
    if not (hasattr(pipeline, "probe") and hasattr(pipeline, "epochs")):
        raise UserError(
            f"{name} does not learn in epochs, of which a few could be timed; once it has run, harness run says what the last run took"
        )
    return pipeline


def _score_seconds(pipeline: Pipeline, test: Split, group: Processes) -> float:
    """For this process's share of the test split, from its first batch, read and scored a second time."""
    readable = test.take(np.flatnonzero(test.rows >= 0)[:SCORE_BATCH])

    def timed() -> float:
        started = time.perf_counter()
        pipeline.scores(next(readable.batches(SCORE_BATCH, device=group.device)))
        synchronize(group.device)
        return time.perf_counter() - started

    timed()
    return timed() * len(test) / len(readable) / group.world_size


def _expected(request: Request, fitted: bool) -> str:
    """As the last run of this spec took, scaled by the number of images; else as long as one on file. No number without one."""
    results = [
        r.result for r in RunStore(request.settings.runs).finished() if r.state == "finished"
    ]
    known = [
        r
        for r in results
        if (r.pipeline, r.title) == (request.pipeline, request.splits.title)
        and r.cost.score_seconds is not None
    ]
    if not known:
        return (
            (None if fitted else _on_file(request))
            or "no earlier run of this pipeline on this dataset to judge the time by; progress shows the time left"
        )
    last = known[-1]
    fit = 0.0 if fitted else last.cost.fit_seconds * len(request.splits.train) / last.n_train
    return f"about {duration(fit + (last.cost.score_seconds or 0) * len(request.splits.test) / last.n_test)}, as {last.run_id} took"


def _on_file(request: Request) -> str | None:
    """A time of this pipeline on this dataset, measured elsewhere and kept with the machine that it was measured on."""
    times = tomllib.loads((files("benchmarks") / "reference_times.toml").read_text()).get(
        "time", []
    )
    registry = Registry(request.plugins)
    for entry in times:
        known = entry["title"] == request.splits.title and registry.says(
            entry["pipeline"], "pipeline", request.pipeline
        )
        if known and request.limit is None:
            return f"{duration(entry['seconds'])} on {entry['machine']} ({entry['date']}); this machine may differ"
    return None


_SECONDS = {"s": 1, "m": 60, "h": 3600}


def seconds_of(budget: str) -> float:
    """`90s`, `20m`, `1.5h` and `1h30m` in seconds. Raises UserError for anything else."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smh])", budget)
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if not seconds or "".join(number + unit for number, unit in parts) != budget:
        raise UserError(f"--budget {budget} is not a time; write 90s, 20m, 1.5h or 1h30m")
    return seconds


def within(request: Request, budget: str, group: Processes) -> str:
    """The request's pipeline spec with the number of epochs, at least one, whose fit takes about `budget` here.

    Raises UserError where the pipeline has no epochs or the spec already says how long to train.
    """
    seconds = seconds_of(budget)
    name, values = parse_spec(request.pipeline)
    for key in ("epochs", "updates"):
        if values.get(key, "none") != "none":
            raise UserError(
                f"--budget {budget} is turned into a number of epochs, and {key}={values[key]} says how long to train: give one of the two"
            )
    pipeline = request.build()
    if not hasattr(pipeline, "probe"):
        raise UserError(
            f"--budget {budget}: {name} does not learn in epochs, of which fewer would take less time"
        )
    found = probed(request, pipeline, group)
    epochs = max(1, int((seconds - found.preparation_seconds) / found.seconds_per_epoch))
    return format_spec(name, {**values, "epochs": group.share(epochs)})


def probed(request: Request, pipeline: Any, group: Processes) -> Probe:
    """What the request's fit takes here, by the pipeline's `probe`."""
    splits = request.splits
    train = splits.train.sharded(group.rank, group.world_size)
    tune = splits.tune.sharded(group.rank, group.world_size) if splits.tune else None
    context = RunContext(
        seed=request.seed,
        processes=group,
        progress=progress if group.first else quiet_progress,
        load_run=lambda run: RunStore(request.settings.runs).find(run).trained_run(),
    )
    found: Probe = pipeline.probe(train, tune, context)
    return found
