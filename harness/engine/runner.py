"""One run: fit, score, measure, keep, track. The same path for every pipeline."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import numpy as np
import torch

from harness.contract import Pipeline
from harness.data.load import Splits
from harness.data.split import Dataset, Split
from harness.engine.cache import Cache
from harness.engine.context import RunContext, quiet_progress
from harness.engine.device import choose_device, describe_machine
from harness.engine.distributed import Processes, processes
from harness.engine.request import Request, resolve
from harness.engine.resources import PeakMemory, Spent
from harness.engine.scoring import score
from harness.errors import UserError
from harness.files import arrays_bytes, load_arrays, save_arrays
from harness.metrics.errors import errors
from harness.progress import progress
from harness.report.pictures import Filters
from harness.report.run_summary import request_lines, result_lines
from harness.runs.record import Record
from harness.runs.result import Result
from harness.runs.run_store import RunStore
from harness.spec import parse_spec

VERSIONS = ("torch", "torchvision", "numpy", "scikit-learn", "before-after-harness")
FIT_COSTS = ("fit_seconds", "cached_seconds", "fit_cpu_seconds", "cached_cpu_seconds")
Say = Callable[[str], None]


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
    track     also draw its pictures and log it
    options   as for `resolve`: tune, limit, limit_test, test, config, data_root, plugins
    Raises UserError for a wrong request; the random state and thread settings of the process are left as they were.
    """
    return execute(resolve(pipeline, dataset, seed=seed, **options), device=device, track=track)


def execute(
    request: Request,
    *,
    device: str = "auto",
    track: bool = True,
    resume: Record | None = None,
    say: Say = lambda line: None,
) -> Result:
    """Do the run, or what is left of it. A run that does not end well keeps its folder, marked so, for --resume."""
    with processes(choose_device(device)) as group:
        runs = RunStore(request.settings.runs)
        record = resume or (runs.create(request.name, request.record) if group.first else None)
        record = Record(group.share(record.folder if record else None))
        lines: list[str] = []

        def log(line: str) -> None:
            lines.append(line)
            if group.first:
                say(line)

        for line in request_lines(request, fitted=record.state_file.exists()):
            log(line)
        if resume:
            of = record.spec.weights_of
            log(f"weights    of {of}" if of else f"resuming   {record.run_id}")
        if group.first:
            record.set_status("running")
        try:
            with (
                seeded(request.seed),
                PeakMemory() as peak,
                record.heartbeat() if group.first else nullcontext(),
            ):
                result, filters = _fit_and_score(request, record, runs, group, peak)
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
                from harness.publish import mirror

                mirror(record, request.settings, lines, say, filters=filters)
    return result


def _fit_and_score(
    request: Request, record: Record, runs: RunStore, group: Processes, peak: PeakMemory
) -> tuple[Result, Filters]:
    """(what result.json holds, what gives the filters to draw)."""
    splits = request.splits
    # Now: the first process may have finished the record, and with that renamed it, before another is done.
    started, command = record.status["started"], _command(request, record)
    shown = progress if group.first else quiet_progress

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
        keep_tune_scores=keep_tune_scores,
        load_run=lambda run: runs.find(run).trained_run(),
    )
    pipeline, fit_costs, earlier_peak = _fitted(request, record, context, peak)
    if group.first:
        record.set_status("running", phase="score")
    scores, spent = (
        score(pipeline, splits.test, group, progress=shown, label="scoring test")
        if request.test
        else (None, None)
    )
    if scores is not None and group.first:
        record.save_scores(scores)

    n_train, n_tune = len(splits.train), len(splits.tune) if splits.tune else 0
    tune_scores = (
        record.scores("tune_scores") if group.first and record.has_scores("tune_scores") else None
    )
    costs, absent = _costs(pipeline, splits, group, fit_costs, spent)
    if splits.tune and tune_scores is None:
        absent["tune_top1_error"] = "fitted on the tune split before it was scored so"
    measured: dict[str, Any] = errors(scores)
    if scores is not None and measured["top5_error"] is None:
        absent["top5_error"] = (
            f"{splits.test.num_classes} classes are too few for a top-5 error to say anything"
        )
    result = Result(
        run_id=record.run_id,
        pipeline=request.pipeline,
        name=request.name,
        family=request.family,
        dataset=splits.spec,
        title=splits.title,
        seed=request.seed,
        classes=splits.train.num_classes,
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
        test_evaluations=runs.test_evaluations(request.name, splits.test.digest)
        + (scores is not None),
        **measured,
        tune_top1_error=errors(tune_scores)["top1_error"],
        **costs,
        peak_memory_mb=max(peak.megabytes, earlier_peak),
        model_bytes=arrays_bytes(record.state_file),
        notes=tuple(context.notes),
        dataset_notes=splits.dataset_notes,
        missing_reasons=absent,
        machine=describe_machine(group.device, group.world_size),
        versions={name: metadata.version(name) for name in VERSIONS},
        started=started,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        curves=context.curves,
        views=getattr(pipeline, "views", 1),
        augmentation=getattr(pipeline, "augmentation", None),
    )
    return result, getattr(pipeline, "filters", dict)


def _command(request: Request, record: Record) -> str:
    """What to type to do it again; weights of another run are only scored again."""
    of = record.spec.weights_of
    return (
        f"harness rescore {of} --views {parse_spec(request.pipeline)[1]['views']}"
        if of
        else request.command
    )


def _fitted(
    request: Request, record: Record, context: RunContext, peak: PeakMemory
) -> tuple[Pipeline, dict[str, Any], float]:
    """(the pipeline; what its fit cost as if nothing had been cached, and what of that a cache saved; MB at most in an earlier process);
    from the record when that was done before."""
    splits, group = request.splits, context.processes
    pipeline = request.build()
    state_file = record.state_file
    if state_file.exists():
        state, saved = load_arrays(state_file, group.device)
        pipeline.load(state)
        facts = json.loads(saved["fit"])
        context.restore(facts)
        if not context.refitted and not group.share(record.has_scores("tune_scores")):
            context.keep_tune_scores(pipeline)
        return (
            pipeline,
            {name: facts.get(name) for name in FIT_COSTS},
            facts.get("peak_memory_mb", 0.0),
        )
    if of := record.spec.weights_of:
        raise UserError(
            f"run {record.run_id} was cut off before it had the weights of {of}; score those again: harness rescore {of}"
        )
    tune = splits.tune.sharded(group.rank, group.world_size) if splits.tune else None
    pipeline.fit(splits.train.sharded(group.rank, group.world_size), tune, context)
    cached = context.cached
    spent = context.stopwatch.spent + cached
    cpu_seconds = (sum(group.gather(part.cpu_seconds)) for part in (spent, cached))
    costs = dict(
        zip(FIT_COSTS, (spent.seconds, cached.seconds, *map(_known, cpu_seconds)), strict=True)
    )
    if not context.refitted:
        context.keep_tune_scores(pipeline)
    if group.first:
        facts = {**context.facts(), **costs, "peak_memory_mb": peak.megabytes}
        save_arrays(state_file, pipeline.state(), {"fit": json.dumps(facts)})
    return pipeline, costs, 0.0


def _costs(
    pipeline: Pipeline,
    splits: Splits,
    group: Processes,
    fit_costs: dict[str, Any],
    spent: Spent | None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """(fields of Result by name: seconds, parameters, operations; why a figure is absent). `spent` on scoring, by this process."""
    absent: dict[str, str] = {}
    costs = {
        **fit_costs,
        "score_seconds": None,
        "score_cpu_seconds": None,
        "images_per_second": None,
    }
    if spent:
        costs["score_seconds"], costs["images_per_second"] = (
            spent.seconds,
            len(splits.test) / spent.seconds,
        )
        costs["score_cpu_seconds"] = sum(group.gather(spent.cpu_seconds))
    if costs["fit_cpu_seconds"] is None:
        absent["fit_cpu_seconds"] = absent["cached_cpu_seconds"] = (
            "a part was cached, or done before an interruption, uncounted"
        )
    for stage in ("fit", "score"):
        seconds = costs[f"{stage}_seconds"]
        costs[f"{stage}_device_seconds"] = (
            None if group.device.type == "cpu" or seconds is None else group.world_size * seconds
        )
        if group.device.type == "cpu":
            absent[f"{stage}_device_seconds"] = "computed on the CPU"
    if not hasattr(pipeline, "layers"):
        absent["params_millions"] = absent["gflops_per_image"] = "only networks list their layers"
        return {**costs, "params_millions": None, "gflops_per_image": None}, absent
    layers = pipeline.layers(splits.train.num_classes, splits.train.image_size)
    multiply_adds = getattr(pipeline, "views", 1) * sum(layer["multiply_adds"] for layer in layers)
    parameters = sum(layer["parameters"] for layer in layers)
    return {
        **costs,
        "params_millions": parameters / 1e6,
        "gflops_per_image": 2 * multiply_adds / 1e9,
    }, absent


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _record_failure(
    error: BaseException, request: Request, record: Record, lines: list[str], track: bool
) -> None:
    """Mark the folder, and MLflow's copy, as stopped or failed. What goes wrong on the way must not hide the error itself."""
    stopped = isinstance(error, KeyboardInterrupt)
    why = f"{type(error).__name__}: {error}".removeprefix("UserError: ")
    with suppress(OSError):
        record.set_status("stopped" if stopped else "failed", why=why)
        record.save_log([*lines, f"{'stopped' if stopped else 'failed'}     {why}"])
    if track:
        from harness.tracking.log_run import track_failure

        with suppress(UserError):
            track_failure(record, request.settings, reason=why, killed=stopped)


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
