"""What `harness run` says: first what it is about to do, at the end what came out."""

from __future__ import annotations

import statistics
import tomllib
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

from harness.contract import Result
from harness.progress import duration
from harness.record import Runs
from harness.registry import Registry
from harness.report.tables import interval, percent
from harness.report.text import size

if TYPE_CHECKING:
    from harness.request import Request


def request_lines(request: Request, *, fitted: bool = False) -> list[str]:
    """The resolved request, one fact a line. `fitted`: what it learns is on record, and it is scored only."""
    splits = request.splits
    n_tune = len(splits.tune) if splits.tune else 0
    lines = [
        f"dataset   {splits.spec}",
        f"pipeline   {request.pipeline}",
        f"images     train {len(splits.train):,}, tune {n_tune:,}, test {len(splits.test):,}; {splits.train.num_classes} classes",
        f"digests    train + tune {splits.fit_digest}, test {splits.test.digest}",
    ]
    lines += [f"remark     {remark}" for remark in splits.remarks]
    if request.limit is not None or request.limit_test is not None:
        lines.append("limited    compare takes this run by its id only")
    return [*lines, f"expected   {_expected(request, fitted)}; seed {request.seed}"]


def result_lines(result: Result) -> list[str]:
    """Errors with their intervals, seconds, memory and the pipeline's notes."""
    lines = []
    if result.top1_error is not None:
        low_high = interval(result.top1_error_ci_low, result.top1_error_ci_high)
        lines.append(
            f"top-1      {percent(result.top1_error)} error, 95 % interval {low_high}, n = {result.n_test:,}"
        )
        top5 = f"{percent(result.top5_error)} error, 95 % interval {interval(result.top5_error_ci_low, result.top5_error_ci_high)}"
        lines.append(
            f"top-5      {top5 if result.top5_error is not None else result.absent['top5_error']}"
        )
        lines.append(
            f"per class  {percent(result.mean_class_error)} mean error; look {result.test_looks} of this pipeline at this test split"
        )
    if result.tune_top1_error is not None:
        lines.append(
            f"tune       {percent(result.tune_top1_error)} top-1 error, n = {result.n_tune:,}"
        )
    cached = (
        f", {duration(result.cached_seconds)} of it spared by the cache"
        if result.cached_seconds >= 0.1
        else ""
    )
    refitted = " (train + tune, settings chosen on tune)" if result.refitted else ""
    lines.append(
        f"fit        {duration(result.fit_seconds)}{cached}; {result.n_fit:,} labeled images{refitted}"
    )
    if result.score_seconds is not None:
        lines.append(
            f"score      {duration(result.score_seconds)}, {result.images_per_second:,.0f} images/s"
        )
    if result.fit_cpu_seconds is not None:
        scoring = (
            f", {duration(result.score_cpu_seconds)} in score"
            if result.score_cpu_seconds is not None
            else ""
        )
        lines.append(f"CPU        {duration(result.fit_cpu_seconds)} in fit{scoring}")
    model = f"; model {size(result.model_bytes)}" if result.model_bytes is not None else ""
    lines.append(f"memory     {result.peak_memory_mb:,.0f} MB at most{model}")
    return [*lines, *(f"note       {note}" for note in result.notes), f"run        {result.run_id}"]


def seeds_line(results: Sequence[Result]) -> str:
    """The runs of several seeds together, in percent: the top-1 error on test or, after --no-test, on tune."""
    tested = all(result.top1_error is not None for result in results)
    found = [result.top1_error if tested else result.tune_top1_error for result in results]
    errors = [error for error in found if error is not None]
    if len(errors) < len(found):
        return f"{len(results)} seeds    no error is known of them: neither the test nor a tune split was scored"
    each = ", ".join(f"{error:.2f}" for error in errors)
    return (
        f"{len(results)} seeds    {'top-1' if tested else 'tune top-1'} error {each} %: mean {statistics.mean(errors):.2f}, "
        f"standard deviation {statistics.stdev(errors):.2f}"
    )


def _expected(request: Request, fitted: bool) -> str:
    """As the last run of this spec took, scaled by the number of images; else as long as one on file. No number without one."""
    results = [r.result for r in Runs(request.settings.runs).finished() if r.state == "finished"]
    known = [
        r
        for r in results
        if (r.pipeline, r.title) == (request.pipeline, request.splits.title)
        and r.score_seconds is not None
    ]
    if not known:
        return (
            (None if fitted else _on_file(request))
            or "no earlier run of this pipeline on this dataset to judge the time by; progress shows the time left"
        )
    last = known[-1]
    fit = 0.0 if fitted else last.fit_seconds * len(request.splits.train) / last.n_train
    return f"about {duration(fit + (last.score_seconds or 0) * len(request.splits.test) / last.n_test)}, as {last.run_id} took"


def _on_file(request: Request) -> str | None:
    """A time of this pipeline on this dataset, measured elsewhere and kept with the machine that it was measured on."""
    times = tomllib.loads((files("benchmarks") / "reference_times.toml").read_text()).get(
        "time", []
    )
    registry = Registry(request.plugins)
    for time in times:
        known = time["title"] == request.splits.title and registry.says(
            time["pipeline"], "pipeline", request.pipeline
        )
        if known and request.limit is None:
            return f"{duration(time['seconds'])} on {time['machine']} ({time['date']}); this machine may differ"
    return None
