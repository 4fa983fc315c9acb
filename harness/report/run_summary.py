"""What `harness run` says: first what it is about to do, at the end what came out."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.engine.estimate import _expected
from harness.render.text import duration, interval, percent, size
from harness.runs.result import Result

if TYPE_CHECKING:
    from harness.engine.request import Request


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
    lines += [f"remark     {remark}" for remark in splits.dataset_notes]
    if request.limit is not None or request.limit_test is not None:
        lines.append("limited    compare takes this run by its id only")
    return [*lines, f"expected   {_expected(request, fitted)}; seed {request.seed}"]


def result_lines(result: Result) -> list[str]:
    """Errors with their intervals, seconds, memory and the pipeline's notes."""
    lines = []
    if result.top1_error is not None:
        low_high = interval(*vars(result.top1_error.interval).values())
        lines.append(
            f"top-1      {percent(result.top1_error.value)} error, 95 % interval {low_high}, n = {result.n_test:,}"
        )
        if result.top5_error is not None:
            top5_interval = interval(*vars(result.top5_error.interval).values())
            top5 = f"{percent(result.top5_error.value)} error, 95 % interval {top5_interval}"
        else:
            top5 = result.missing_reasons["top5_error"]
        lines.append(f"top-5      {top5}")
        lines.append(
            f"per class  {percent(result.mean_class_error)} mean error; look {result.test_evaluations} of this pipeline at this test split"
        )
    if result.tune_top1_error is not None:
        lines.append(
            f"tune       {percent(result.tune_top1_error)} top-1 error, n = {result.n_tune:,}"
        )
    cached = (
        f", {duration(result.cost.cached_seconds)} of it spared by the cache"
        if result.cost.cached_seconds >= 0.1
        else ""
    )
    refitted = " (train + tune, settings chosen on tune)" if result.refitted else ""
    lines.append(
        f"fit        {duration(result.cost.fit_seconds)}{cached}; {result.n_fit:,} labeled images{refitted}"
    )
    if result.cost.score_seconds is not None:
        lines.append(
            f"score      {duration(result.cost.score_seconds)}, {result.cost.images_per_second:,.0f} images/s"
        )
    if result.cost.fit_cpu_seconds is not None:
        scoring = (
            f", {duration(result.cost.score_cpu_seconds)} in score"
            if result.cost.score_cpu_seconds is not None
            else ""
        )
        lines.append(f"CPU        {duration(result.cost.fit_cpu_seconds)} in fit{scoring}")
    model = (
        f"; model {size(result.cost.model_bytes)}" if result.cost.model_bytes is not None else ""
    )
    lines.append(f"memory     {result.cost.peak_memory_mb:,.0f} MB at most{model}")
    return [*lines, *(f"note       {note}" for note in result.notes), f"run        {result.run_id}"]


def seeds_line(results: Sequence[Result]) -> str:
    """The runs of several seeds together, in percent: the top-1 error on test or, after --no-test, on tune."""
    tested = all(result.top1_error is not None for result in results)
    found = [
        result.top1_error.value if result.top1_error else result.tune_top1_error
        for result in results
    ]
    errors = [error for error in found if error is not None]
    if len(errors) < len(found):
        return f"{len(results)} seeds    no error is known of them: neither the test nor a tune split was scored"
    each = ", ".join(f"{error:.2f}" for error in errors)
    return (
        f"{len(results)} seeds    {'top-1' if tested else 'tune top-1'} error {each} %: mean {statistics.mean(errors):.2f}, "
        f"standard deviation {statistics.stdev(errors):.2f}"
    )
