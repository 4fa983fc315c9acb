"""One run: fit, score, measure, keep. The same path for every pipeline."""

from __future__ import annotations

import json
import math
import traceback
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from harness.commands import harness_command
from harness.contract import HasLayers, Pipeline
from harness.engine.cache import Cache
from harness.engine.context import RunContext, RunServices
from harness.engine.device import choose_device, describe_machine
from harness.engine.distributed import Processes, join_processes
from harness.engine.estimate import expected_time
from harness.engine.load import load_fit, restore
from harness.engine.observer import RunObserver
from harness.engine.outputs import plugin_errors
from harness.engine.request import Request, rerun_command
from harness.engine.resources import PeakMemory, Usage
from harness.engine.scoring import equal_scores_note, score
from harness.engine.seeding import seeded
from harness.errors import UserError
from harness.files import arrays_bytes, save_arrays
from harness.metrics.errors import measure_errors
from harness.runs.liveness import heartbeat
from harness.runs.record import LOG, Record
from harness.runs.result import Cost, Result
from harness.runs.run_store import RunStore

VERSIONS = ("torch", "torchvision", "numpy", "scikit-learn", "before-after-harness")


@dataclass(frozen=True)
class FitOutcome:
    """A fitted pipeline and what fitting it cost, as if nothing had been cached.

    Processor times are None where a part was not counted: cached, or done before an interruption.
    """

    pipeline: Pipeline
    fit_seconds: float
    cached_seconds: float
    fit_cpu_seconds: float | None
    cached_cpu_seconds: float | None
    peak_memory_mb: float = 0.0  # of an earlier process of this run

    def measured(self) -> dict[str, float | None]:
        """Return the figures that travel with the saved state."""
        return {name: value for name, value in vars(self).items() if name != "pipeline"}


def execute(
    request: Request,
    *,
    device: str = "auto",
    resume: Record | None = None,
    observer: RunObserver | None = None,
) -> Result:
    """Execute a run, or the rest of an unfinished one.

    A run that does not end well keeps its folder, marked as stopped or failed, to be resumed.

    Parameters
    ----------
    device : str
        auto, cpu, cuda or cuda:N.
    resume : Record, optional
        An unfinished record of the same request.
    observer : RunObserver, optional
        Told what happens, in process 0.

    Returns
    -------
    Result
        On every process.
    """
    with join_processes(choose_device(device)) as processes:
        first = processes.first
        observer = observer if observer and first else RunObserver()
        record = _shared_record(request, resume, processes)
        alive = heartbeat(record.status_file) if first else nullcontext()
        try:
            expected = expected_time(request, fitted=record.state_file.exists())
            if first:
                record.set_status("running")
            observer.started(request, record, expected=expected, resumed=resume is not None)
            errors = plugin_errors(request.name, request.plugin)
            with seeded(request.spec.seed), PeakMemory() as peak, alive, errors:
                run = _Run(request, record, processes, observer, peak)
                outcome = run.fit()
                result = run.score(outcome)
        except BaseException as error:
            if first:
                _record_failure(error, record, observer)
            raise
        store = RunStore(request.workspace.runs_folder)
        result = processes.share(store.finish(record, result) if first else None)
        if first:
            observer.finished(record, outcome.pipeline)
    return result


def _shared_record(request: Request, resume: Record | None, processes: Processes) -> Record:
    """Return the record that process 0 creates or resumes, on every process."""
    record = resume
    if record is None and processes.first:
        record = RunStore(request.workspace.runs_folder).create(request.name, request.spec)
    return Record(processes.share(record.folder if record else None))


class _Run:
    """The two halves of a run, fit and score, and what they share."""

    def __init__(
        self,
        request: Request,
        record: Record,
        processes: Processes,
        observer: RunObserver,
        peak: PeakMemory,
    ) -> None:
        self.request = request
        self.record = record
        self.processes = processes
        self.observer = observer
        self.peak = peak
        self.store = RunStore(request.workspace.runs_folder)
        self.tune_failure: UserError | None = None
        # Read now: process 0 may have finished, and renamed, the record before another is done.
        self.started = str(record.status.get("started", _now()))
        self.spec = record.spec
        cache_folder = request.workspace.data_root / "cache"
        self.context = RunContext(
            seed=request.spec.seed,
            processes=processes,
            services=RunServices(
                checkpoint_folder=record.folder / "checkpoint",
                cache=Cache(cache_folder, request.spec.source_hash),
                observer=observer,
                keep_tune_scores=self._keep_tune_scores,
                load_run=lambda run_id: self.store.find(run_id).trained_run(),
            ),
        )

    def fit(self) -> FitOutcome:
        """Fit the pipeline and save its state, or load the state if an earlier process did.

        Scores of the tune split that are refused end the run when the state is saved.
        """
        outcome = self._load_fitted() if self.record.state_file.exists() else self._fit_anew()
        if self.tune_failure:
            raise self.tune_failure
        return outcome

    def _fit_anew(self) -> FitOutcome:
        if other := self.spec.weights_of:
            raise UserError(
                f"run {self.record.run_id} was interrupted before it had the weights of {other}; "
                f"score those again: {harness_command('rescore', other)}"
            )
        processes, splits, context = self.processes, self.request.splits, self.context
        pipeline = self.request.build()
        rank, world_size = processes.rank, processes.world_size
        tune = splits.tune.sharded(rank, world_size) if splits.tune else None
        pipeline.fit(splits.train.sharded(rank, world_size), tune, context)
        outcome = self._measure_fit(pipeline)
        if processes.first:
            self._save_state(outcome)
        if not context.refitted:
            context.keep_tune_scores(pipeline)
        return outcome

    def _save_state(self, outcome: FitOutcome) -> None:
        """Save what the pipeline has learned; a note says why where that cannot be.

        The run goes on then, since its scores are worth keeping.
        """
        measured = {**outcome.measured(), "peak_memory_mb": self.peak.megabytes}
        header = {"fit": json.dumps({**self.context.progress_so_far(), **measured})}
        try:
            save_arrays(self.record.state_file, outcome.pipeline.state(), header)
        except (OSError, MemoryError):
            raise
        except Exception as error:
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            self.context.note(
                f"state of {self.request.name} not kept, so predict and rescore cannot use this "
                f"run: {kind}{error}"
            )

    def _measure_fit(self, pipeline: Pipeline) -> FitOutcome:
        cached = self.context.cache_savings
        usage = self.context.stopwatch.usage + cached
        gather = self.processes.gather
        return FitOutcome(
            pipeline=pipeline,
            fit_seconds=usage.seconds,
            cached_seconds=cached.seconds,
            fit_cpu_seconds=_none_if_nan(sum(gather(usage.cpu_seconds))),
            cached_cpu_seconds=_none_if_nan(sum(gather(cached.cpu_seconds))),
        )

    def _load_fitted(self) -> FitOutcome:
        pipeline = self.request.build()
        state, fit = load_fit(self.record, self.processes.device)
        restore(pipeline, state, self.record)
        progress = vars(fit)
        self.context.restore(progress)
        has_tune_scores = self.processes.share(self.record.has_scores("tune_scores"))
        if not self.context.refitted and not has_tune_scores:
            self.context.keep_tune_scores(pipeline)
        names = FitOutcome.__dataclass_fields__.keys() - {"pipeline"}
        return FitOutcome(pipeline, **{name: progress[name] for name in names})

    def score(self, outcome: FitOutcome) -> Result:
        """Score the test split, unless the run stops after tune, and measure everything."""
        if self.processes.first:
            self.record.set_status("running", phase="score")
        scores, usage = None, None
        if self.spec.test:
            scores, usage = score(
                outcome.pipeline,
                self.request.splits.test,
                self.processes,
                observer=self.observer,
                label="scoring test",
            )
            scores = replace(scores, in_train=self.request.splits.test_in_train)
            if note := equal_scores_note(scores):
                self.context.note(note)
            if self.processes.first:
                self.record.save_scores(scores)
        tune_scores = None
        if self.processes.first and self.record.has_scores("tune_scores"):
            tune_scores = self.record.scores("tune_scores")
        tune_error = measure_errors(tune_scores).top1_error
        errors = measure_errors(scores)
        cost = self._cost(outcome, usage)
        missing = self._missing_reasons(cost, outcome.pipeline)
        if scores is not None and errors.top5_error is None:
            classes = self.request.splits.test.num_classes
            missing["top5_error"] = f"{classes} classes are too few for a meaningful top-5 error"
        if self.request.splits.tune and tune_error is None:
            missing["tune_top1_error"] = "fitted on the tune split before it was scored"
        return self._result(
            outcome.pipeline,
            cost=cost,
            missing_reasons=missing,
            tune_top1_error=tune_error.value if tune_error else None,
            **vars(errors),
        )

    def _result(self, pipeline: Pipeline, **measured: Any) -> Result:
        request, spec, splits, context = self.request, self.spec, self.request.splits, self.context
        n_train, n_tune = len(splits.train), len(splits.tune) if splits.tune else 0
        tested = measured["top1_error"] is not None
        return Result(
            run_id=self.record.run_id,
            pipeline=spec.pipeline,
            name=request.name,
            label=request.label,
            family=request.family,
            dataset=spec.dataset,
            title=spec.title,
            seed=spec.seed,
            classes=splits.train.num_classes,
            n_train=n_train,
            n_tune=n_tune,
            n_test=len(splits.test) if tested else 0,
            n_fit=n_train + n_tune if context.refitted else n_train,
            refitted=context.refitted,
            limit=spec.limit,
            limit_test=spec.limit_test,
            tune=spec.tune,
            train_digest=spec.train_digest,
            test_digest=spec.test_digest,
            identity=spec.identity,
            source_hash=spec.source_hash,
            test_evaluations=0,  # until it is finished, see RunStore.finish
            notes=tuple(context.notes),
            dataset_notes=splits.dataset_notes,
            machine=describe_machine(self.processes.device, self.processes.world_size),
            versions={name: metadata.version(name) for name in VERSIONS},
            started=self.started,
            finished=_now(),
            command=rerun_command(spec, request.workspace.flags),
            curves=context.curves,
            views=int(getattr(pipeline, "views", 1)),
            augmentation=getattr(pipeline, "augmentation", None),
            **measured,
        )

    def _cost(self, outcome: FitOutcome, usage: Usage | None) -> Cost:
        """Combine what fit and score cost; `usage` is what this process spent on scoring."""
        processes, splits = self.processes, self.request.splits
        parameters, gflops = _network_size(outcome.pipeline, self.request)
        score_seconds = usage.seconds if usage else None
        score_cpu = sum(processes.gather(usage.cpu_seconds)) if usage else None
        on_device = processes.world_size if processes.device.type != "cpu" else None
        return Cost(
            fit_seconds=outcome.fit_seconds,
            score_seconds=score_seconds,
            cached_seconds=outcome.cached_seconds,
            images_per_second=len(splits.test) / score_seconds if score_seconds else None,
            fit_cpu_seconds=outcome.fit_cpu_seconds,
            score_cpu_seconds=score_cpu,
            cached_cpu_seconds=outcome.cached_cpu_seconds,
            fit_device_seconds=on_device * outcome.fit_seconds if on_device else None,
            score_device_seconds=on_device * score_seconds if on_device and score_seconds else None,
            peak_memory_mb=max(self.peak.megabytes, outcome.peak_memory_mb),
            params_millions=parameters,
            gflops_per_image=gflops,
            model_bytes=arrays_bytes(self.record.state_file),
        )

    def _missing_reasons(self, cost: Cost, pipeline: Pipeline) -> dict[str, str]:
        missing: dict[str, str] = {}
        if cost.model_bytes is None:
            missing["model_bytes"] = "the state was not kept, see the notes"
        if cost.fit_cpu_seconds is None:
            reason = "a part was cached, or done before an interruption, uncounted"
            missing |= {"fit_cpu_seconds": reason, "cached_cpu_seconds": reason}
        if self.processes.device.type == "cpu":
            reason = "computed on the CPU"
            missing |= {"fit_device_seconds": reason, "score_device_seconds": reason}
        if not isinstance(pipeline, HasLayers):
            reason = "only networks list their layers"
            missing |= {"params_millions": reason, "gflops_per_image": reason}
        return missing

    def _keep_tune_scores(self, pipeline: Pipeline) -> None:
        tune = self.request.splits.tune
        if not tune:
            return
        try:
            scores, _ = score(
                pipeline, tune, self.processes, observer=self.observer, label="scoring tune"
            )
        except UserError as error:
            self.tune_failure = error
            return
        if self.processes.first:
            self.record.save_scores(scores, "tune_scores")


def _network_size(pipeline: Pipeline, request: Request) -> tuple[float | None, float | None]:
    """Return millions of parameters, and GFLOPs per image over all views; None without layers."""
    if not isinstance(pipeline, HasLayers):
        return None, None
    train = request.splits.train
    layers = pipeline.layers(train.num_classes, train.image_size)
    parameters = sum(layer["parameters"] for layer in layers)
    multiply_adds = getattr(pipeline, "views", 1) * sum(layer["multiply_adds"] for layer in layers)
    return parameters / 1e6, 2 * multiply_adds / 1e9


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


def _record_failure(error: BaseException, record: Record, observer: RunObserver) -> None:
    """Mark the folder as stopped or failed. A further failure must not hide the error itself."""
    stopped = isinstance(error, KeyboardInterrupt)
    reason = f"{type(error).__name__}: {error}".removeprefix("UserError: ")
    if stopped:
        reason = "stopped by Ctrl-C"
    with suppress(OSError):
        record.set_status("stopped" if stopped else "failed", why=reason)
    with suppress(Exception):
        observer.failed(record, reason, stopped=stopped)
    if isinstance(error, UserError) and error.__cause__:  # in a plugin, whose author needs it
        with suppress(Exception):
            record.append_log("".join(traceback.format_exception(error.__cause__)))
            observer.line(f"traceback  {record.folder / LOG}")
