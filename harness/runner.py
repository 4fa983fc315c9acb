"""One run: resolve what was asked for, fit, score, measure, keep, track. The same path for every pipeline."""

from __future__ import annotations

import hashlib
import inspect
import json
import random
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.cache import Cache
from harness.context import RunContext
from harness.contract import Dataset, Pipeline, Result, Scores, Split
from harness.data.load import Splits, load_dataset
from harness.data.root import data_root as default_data_root
from harness.distributed import Processes, processes
from harness.errors import UserError
from harness.files import load_arrays, save_arrays
from harness.machine import PeakMemory, Stopwatch, choose_device, describe_machine
from harness.metrics import metrics
from harness.progress import progress
from harness.record import Record, Runs
from harness.registry import Registry
from harness.report.run_text import request_lines, result_lines
from harness.settings import Settings, load_settings
from harness.stats import wilson

SCORE_BATCH = 128  # images
VERSIONS = ("torch", "torchvision", "numpy", "scikit-learn", "before-after-harness")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """A run with everything resolved and nothing yet done."""

    build: Callable[[], Pipeline]
    pipeline: str  # resolved spec
    name: str
    family: str
    source_hash: str
    splits: Splits
    seed: int
    tune: int | None
    limit: int | None
    limit_test: int | None
    test: bool
    plugins: tuple[str, ...]
    settings: Settings
    data_root: Path

    @property
    def spec(self) -> dict[str, Any]:
        """What makes two runs the same run, the state of the source and of the data included."""
        return {
            "pipeline": self.pipeline,
            "dataset": self.splits.spec,
            "seed": self.seed,
            "tune": self.tune,
            "limit": self.limit,
            "limit_test": self.limit_test,
            "test": self.test,
            "source_hash": self.source_hash,
            "train_digest": self.splits.fit_digest,
            "test_digest": self.splits.test.digest,
        }

    @property
    def record(self) -> dict[str, Any]:
        """What spec.json holds: the above, and what it takes to load the fitted pipeline again."""
        train = self.splits.train
        facts = {"title": self.splits.title, "class_names": train.class_names, "image_size": train.image_size}
        return {**self.spec, **facts, "preparation": train.preparation, "plugins": self.plugins}

    @property
    def identity(self) -> str:
        return hashlib.sha256(json.dumps(self.spec, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def command(self) -> str:
        """What to type to do this run again."""
        words = ["harness", "run", "--pipeline", self.pipeline, "--dataset", self.splits.spec, "--seed", str(self.seed)]
        for flag, value in {"--tune": self.tune, "--limit": self.limit, "--limit-test": self.limit_test}.items():
            words += [flag, str(value)] if value is not None else []
        words += [] if self.test else ["--no-test"]
        for plugin in self.plugins:
            words += ["--plugins", plugin]
        return shlex.join(words)


def resolve(
    pipeline: str | Pipeline,
    dataset: str | tuple[Split, Split] | Dataset | None = None,
    *,
    seed: int = 0,
    tune: int | None = None,
    limit: int | None = None,
    limit_test: int | None = None,
    test: bool = True,
    config: Path | None = None,
    data_root: Path | str | None = None,
    plugins: Sequence[str] = (),
) -> Request:
    """Look everything up. Raises UserError for whatever was asked wrongly, before any work is done."""
    if isinstance(pipeline, str):
        entry, build, values, spec = Registry(plugins).resolve("pipeline", pipeline)
        builder, name, family, source_hash = (lambda: build(**values)), entry.name, entry.family, entry.source_hash
    else:
        given = pipeline
        builder, name, family, source_hash = (
            (lambda: given),
            _object_name(given),
            str(getattr(given, "FAMILY", "?")),
            _object_hash(given),
        )
        spec = f"object:{name}"
    return Request(
        build=builder,
        pipeline=spec,
        name=name,
        family=family,
        source_hash=source_hash,
        splits=load_dataset(dataset, tune=tune, limit=limit, limit_test=limit_test, data_root=data_root, plugins=plugins),
        seed=seed,
        tune=tune,
        limit=limit,
        limit_test=limit_test,
        test=test,
        plugins=tuple(plugins),
        settings=load_settings(config),
        data_root=default_data_root(data_root),
    )


def run(
    pipeline: str | Pipeline,
    dataset: str | tuple[Split, Split] | Dataset | None = None,
    *,
    seed: int = 0,
    device: str = "auto",
    track: bool = True,
    **options: Any,
) -> Result:
    """Fit `pipeline` on the train part of `dataset`, score the test part, keep the record, log it to MLflow.

    pipeline  a spec string, or an object with the methods of contract.Pipeline
    dataset   a spec string or path, a Dataset, or a (train, test) pair of Splits; None: HARNESS_DATASET, else digits
    options   as for `resolve`: tune, limit, limit_test, test, config, data_root, plugins
    Raises UserError for a wrong request; the random state and thread settings of the process are left as they were.
    """
    return execute(resolve(pipeline, dataset, seed=seed, **options), device=device, track=track)


def execute(
    request: Request, *, device: str = "auto", track: bool = True, resume: Record | None = None, say: Say = lambda line: None
) -> Result:
    """Do the run, or what is left of it. A run that does not end well keeps its folder, marked so, for --resume."""
    with processes(choose_device(device)) as group:
        runs = Runs(request.settings.runs)
        record = resume or (runs.create(request.name, request.record) if group.first else None)
        record = Record(group.share(record.folder if record else None))
        lines: list[str] = []

        def log(line: str) -> None:
            lines.append(line)
            if group.first:
                say(line)

        for line in request_lines(request):
            log(line)
        if resume:
            log(f"resuming   {record.run_id}")
        if group.first:
            record.set_status("running")
        try:
            with seeded(request.seed), PeakMemory() as peak:
                result = _fit_and_score(request, record, runs, group, peak)
        except BaseException as error:
            if group.first:
                _record_failure(error, request, record, lines, track)
            raise
        for line in result_lines(result):
            log(line)
        if group.first:
            record.save_log(lines)
            record.finish(result)
            if track:
                _track(result, record, request.settings, log)
                with suppress(OSError):  # the disk may be full by now, and the record is complete without MLflow's address
                    record.save_log(lines)
    return result


def resumable(request: Request, wanted: str) -> Record:
    """The unfinished run to go on with: by id, or `latest` of the same identity.

    Raises UserError when there is none, it is still running, or source or data have changed since it began.
    """
    runs = Runs(request.settings.runs)
    if wanted != "latest":
        candidates = [runs.find(wanted)]
    else:
        loose = {"source_hash", "train_digest", "test_digest"}
        candidates = [
            r for r in runs.all() if not r.finished and all(r.spec.get(k) == v for k, v in request.spec.items() if k not in loose)
        ]  # fmt: skip
    if not candidates:
        raise UserError(
            f"there is no unfinished run of {request.pipeline} on {request.splits.spec} with seed {request.seed} to resume; see: harness runs"
        )
    record = candidates[-1]
    if record.finished:
        raise UserError(f"run {record.run_id} is finished; there is nothing to resume")
    if record.state == "running":
        raise UserError(f"run {record.run_id} is still running (process {record.status['pid']} on {record.status['host']})")
    for key, value in request.spec.items():
        if record.spec.get(key) != value:
            what = {
                "source_hash": "the source of the pipeline",
                "train_digest": "the training data",
                "test_digest": "the test data",
            }
            raise UserError(
                f"run {record.run_id} cannot be resumed: {what.get(key, key)} has changed since it began "
                f"({record.spec.get(key)} then, {value} now); start afresh without --resume, or put it back"
            )
    return record


def _fit_and_score(request: Request, record: Record, runs: Runs, group: Processes, peak: PeakMemory) -> Result:
    splits = request.splits
    train = splits.train.sharded(group.rank, group.world)
    tune = splits.tune.sharded(group.rank, group.world) if splits.tune else None
    shown = progress if group.first else _unshown

    def keep_tune_scores(pipeline: Pipeline) -> None:
        if splits.tune:
            scores, _ = score(pipeline, splits.tune, group, progress=shown, label="scoring tune")
            if group.first:
                record.save_scores(scores, "tune_scores")

    context = RunContext(
        seed=request.seed,
        processes=group,
        checkpoint_folder=record.folder / "checkpoint",
        cache=Cache(request.data_root / "cache", request.source_hash),
        progress=shown,
        score_tune=keep_tune_scores,
    )
    pipeline = request.build()
    state_file = record.folder / "state.safetensors"
    if state_file.exists():  # fitted before the run was interrupted
        state, saved = load_arrays(state_file, group.device)
        pipeline.load(state)
        facts = json.loads(saved["fit"])
        context.restore(facts)
        fit_seconds, cached_seconds = facts["fit_seconds"], facts["cached_seconds"]
    else:
        pipeline.fit(train, tune, context)
        cached_seconds = context.cached_seconds
        fit_seconds = context.stopwatch.seconds + cached_seconds
        if not context.refitted:
            keep_tune_scores(pipeline)
        if group.first:
            facts = {**context.facts(), "fit_seconds": fit_seconds, "cached_seconds": cached_seconds}
            save_arrays(state_file, pipeline.state(), {"fit": json.dumps(facts)})
    if group.first:
        record.set_status("running", phase="score")
    scores, score_seconds = (
        score(pipeline, splits.test, group, progress=shown, label="scoring test") if request.test else (None, None)
    )
    if scores is not None and group.first:
        record.save_scores(scores)

    n_train, n_tune = len(splits.train), len(splits.tune) if splits.tune else 0
    tune_scores = record.scores("tune_scores") if group.first and splits.tune else None
    params, gflops, absent = _cost(pipeline, splits)
    errors = _errors(scores)
    if scores is not None and errors["top5_error"] is None:
        absent["top5_error"] = f"{splits.test.classes} classes are too few for a top-5 error to say anything"
    return Result(
        run_id=record.run_id,
        pipeline=request.pipeline,
        name=request.name,
        family=request.family,
        dataset=splits.spec,
        title=splits.title,
        seed=request.seed,
        classes=splits.train.classes,
        n_train=n_train,
        n_tune=n_tune,
        n_test=len(splits.test) if scores is not None else 0,
        n_fit=n_train + n_tune if context.refitted else n_train,
        refitted=context.refitted,
        limit=request.limit,
        limit_test=request.limit_test,
        tune=request.tune,
        train_digest=splits.fit_digest,
        test_digest=splits.test.digest,
        identity=request.identity,
        source_hash=request.source_hash,
        test_looks=runs.test_looks(request.name, splits.test.digest) + (scores is not None),
        **errors,
        tune_top1_error=dict(metrics(tune_scores))["top1_error"] if tune_scores else None,
        fit_seconds=fit_seconds,
        score_seconds=score_seconds,
        cached_seconds=cached_seconds,
        images_per_second=len(splits.test) / score_seconds if score_seconds else None,
        peak_memory_mb=peak.megabytes,
        params_millions=params,
        gflops_per_image=gflops,
        notes=tuple(context.notes),
        remarks=splits.remarks,
        absent=absent,
        machine=describe_machine(group.device, group.world),
        versions={name: metadata.version(name) for name in VERSIONS},
        started=record.status["started"],
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        command=request.command,
        curves=context.curves,
    )


def score(
    pipeline: Pipeline, split: Split, group: Processes, *, progress: Callable[..., Iterator[Any]], label: str
) -> tuple[Scores, float]:
    """(the scores of a split, seconds). Every process scores its share; images that cannot be decoded get a row of -inf, which
    is wrong by the rule on ties. Raises UserError when the pipeline returns another shape or NaN.
    """
    readable = split.take(np.flatnonzero(split.rows >= 0))
    positions = np.flatnonzero(split.rows >= 0)
    share = readable.sharded(group.rank, group.world)
    for batch in readable.take(np.arange(min(len(readable), SCORE_BATCH))).batches(SCORE_BATCH, device=group.device):
        pipeline.scores(batch)  # warm-up, outside the clock
    stopwatch = Stopwatch(group.device)
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    steps = -(-len(range(group.rank, len(readable), group.world)) // SCORE_BATCH)
    for batch in progress(share.batches(SCORE_BATCH, device=group.device), label=label, total=steps):
        rows = pipeline.scores(batch)
        if tuple(rows.shape) != (len(batch), split.classes):
            raise UserError(
                f"the pipeline's scores are {tuple(rows.shape)} for {len(batch)} images, not ({len(batch)}, {split.classes})"
            )
        parts.append((batch.index.cpu().numpy(), rows.detach().to("cpu", torch.float32).numpy()))
    gathered = [part for parts_of_one in group.gather(parts) for part in parts_of_one]
    seconds = stopwatch.seconds
    scores = np.full((len(split), split.classes), -np.inf, dtype=np.float32)
    for index, rows_of_batch in gathered:
        scores[positions[index]] = rows_of_batch
    if bad := int(np.isnan(scores).any(axis=1).sum()):
        raise UserError(f"the pipeline gave NaN scores for {bad} of {len(split)} images")
    return Scores(split.keys, split.labels, scores), seconds


def _errors(scores: Scores | None) -> dict[str, float | None]:
    names = ["top1_error", "top5_error", "mean_class_error"]
    found: dict[str, float | None] = dict.fromkeys(names)
    found |= {f"{name}_ci_{end}": None for name in names[:2] for end in ("low", "high")}
    for name, value in metrics(scores) if scores else ():
        found[name] = value
        if value is not None and f"{name}_ci_low" in found:
            low, high = wilson(round(value * len(scores) / 100), len(scores)) if scores else (0.0, 0.0)
            found |= {f"{name}_ci_low": 100 * low, f"{name}_ci_high": 100 * high}
    return found


def _cost(pipeline: Pipeline, splits: Splits) -> tuple[float | None, float | None, dict[str, str]]:
    """(millions of parameters, GFLOP an image over all views, why a figure is absent)."""
    if not hasattr(pipeline, "layers"):
        reason = "only networks list their layers"
        return None, None, {"params_millions": reason, "gflops_per_image": reason}
    layers = pipeline.layers(splits.train.classes, splits.train.image_size)
    views = getattr(pipeline, "views", 1)
    return sum(x["parameters"] for x in layers) / 1e6, 2 * views * sum(x["multiply_adds"] for x in layers) / 1e9, {}


def _record_failure(error: BaseException, request: Request, record: Record, lines: list[str], track: bool) -> None:
    """Mark the folder, and MLflow's copy, as stopped or failed. What goes wrong on the way must not hide the error itself."""
    stopped = isinstance(error, KeyboardInterrupt)
    why = f"{type(error).__name__}: {error}".removeprefix("UserError: ")
    with suppress(OSError):
        record.set_status("stopped" if stopped else "failed", why=why)
        record.save_log([*lines, f"{'stopped' if stopped else 'failed'}     {why}"])
    if track:
        from harness.tracking import track_failure

        with suppress(UserError):
            track_failure(
                record.run_id,
                record.folder,
                request.settings,
                pipeline=request.pipeline,
                dataset=request.splits.spec,
                seed=request.seed,
                started=record.status["started"],
                reason=why,
                killed=stopped,
            )


def _track(result: Result, record: Record, settings: Settings, say: Say) -> None:
    """MLflow mirrors the record; when it cannot be written the run is no less finished."""
    from harness.tracking import track

    try:
        links = track(result, record.folder, settings)
        record.save_links(links.table, links.runs[result.run_id])
    except (UserError, OSError) as error:
        say(f"MLflow     not logged: {error}; the record is kept in {record.folder}")
    else:
        say(f"MLflow     {links.table}")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python's, numpy's and torch's global generators, and put all three back."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def _unshown(items: Any, **_: Any) -> Iterator[Any]:
    return iter(items)


def _object_name(pipeline: Pipeline) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", type(pipeline).__name__).lower()


def _object_hash(pipeline: Pipeline) -> str:
    """Of the class's source text and the object's plain attributes, since those are its settings."""
    try:
        source = inspect.getsource(type(pipeline))
    except (OSError, TypeError):
        source = type(pipeline).__qualname__
    return hashlib.sha256(f"{source} {sorted(vars(pipeline).items(), key=lambda item: item[0])}".encode()).hexdigest()[:16]
