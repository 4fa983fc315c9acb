"""The lines that a run prints before it starts and when it ends, and who prints them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from harness.commands import harness_command
from harness.contract import Pipeline
from harness.engine.observer import RunObserver
from harness.progress import progress
from harness.render.text import copies, duration, interval, percent, printable, size
from harness.runs.record import Record
from harness.runs.result import Copies, Cost, Estimate, Result

if TYPE_CHECKING:
    from harness.engine.request import Request

T = TypeVar("T")


def request_lines(request: Request, expected: str, *, verbose: bool = False) -> list[str]:
    """Return the request, one fact per line.

    Parameters
    ----------
    expected : str
        From `engine.estimate.expected_time`.
    verbose : bool
        Add the full specs and the digests.
    """
    spec, splits = request.spec, request.splits
    n_tune = len(splits.tune) if splits.tune else 0
    lines = [
        f"pipeline   {request.label}",
        f"dataset    {spec.title}: {len(splits.train):,} train, {n_tune:,} tune, "
        f"{len(splits.test):,} test images, {splits.train.num_classes} classes; seed {spec.seed}",
    ]
    if verbose:
        lines += [
            f"specs      {spec.pipeline}; {spec.dataset}",
            f"digests    train + tune {spec.train_digest}, test {spec.test_digest}",
        ]
    lines += [f"note       {note}" for note in splits.dataset_notes]
    if spec.limit is not None or spec.limit_test is not None:
        lines.append("limited    compare takes this run by its id only")
    return [*lines, f"expected   {expected}"]


def result_lines(result: Result) -> list[str]:
    """Return errors with their intervals, cost and notes, one fact per line."""
    lines = []
    if result.top1_error is not None:
        lines.append(f"top-1      {_error(result.top1_error)}, n = {result.n_test:,}")
        missing = result.missing_reasons.get("top5_error", "not measured")
        lines.append(f"top-5      {_error(result.top5_error) if result.top5_error else missing}")
        times = f"{result.test_evaluations} time{'s' if result.test_evaluations > 1 else ''}"
        lines.append(
            f"per class  {percent(result.mean_class_error)} mean error; "
            f"pipeline evaluated {times} on this test split"
        )
    if result.copies and result.copies.any:
        lines.append(f"copies     {_copies_text(result.copies)}")
    if result.tune_top1_error is not None:
        tune_error = percent(result.tune_top1_error)
        lines.append(f"tune       {tune_error} top-1 error, n = {result.n_tune:,}")
    lines += [_fit_line(result), *_cost_lines(result.cost)]
    return [*lines, *(f"note       {note}" for note in result.notes), f"run        {result.run_id}"]


def seeds_line(results: Sequence[Result]) -> str:
    """Return the runs of several seeds in one line: their top-1 errors on test, else on tune."""
    tested = all(result.top1_error is not None for result in results)
    errors = [
        result.top1_error.value if result.top1_error else result.tune_top1_error
        for result in results
    ]
    known = [error for error in errors if error is not None]
    if len(known) < len(errors):
        return f"{len(results)} seeds    no error is known: neither test nor tune was scored"
    listed = ", ".join(f"{error:.2f}" for error in known)
    return (
        f"{len(results)} seeds    {'top-1' if tested else 'tune top-1'} error {listed} %: "
        f"mean {statistics.mean(known):.2f}, standard deviation {statistics.stdev(known):.2f}"
    )


class LogFile(RunObserver):
    """Keeps what the terminal shows, with all details, as log.txt in the run folder."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.record: Record | None = None

    def started(self, request: Request, record: Record, *, expected: str, resumed: bool) -> None:
        self.lines += request_lines(request, expected, verbose=True)
        self.lines += _origin_lines(record, resumed)

    def line(self, text: str) -> None:
        self.lines.append(text)
        if self.record:  # finished: what comes now is added to the file
            with suppress(OSError):
                self.record.append_log(text)

    def finished(self, record: Record, pipeline: Pipeline | None) -> None:
        self.lines += result_lines(record.result)
        self.record = record
        with suppress(OSError):  # a full disk; the record is complete without it
            record.save_log(self.lines)

    def failed(self, record: Record, reason: str, *, stopped: bool) -> None:
        with suppress(OSError):  # a full disk must not keep other observers from hearing of it
            record.save_log([*self.lines, f"{'stopped' if stopped else 'failed '}    {reason}"])


class ProgressDisplay(RunObserver):
    """Shows progress on standard error, and nothing else."""

    def progress(
        self, items: Iterable[T], *, label: str, total: int | None = None, unit: str = "batch"
    ) -> Iterator[T]:
        return progress(items, label=label, total=total, unit=unit)


class Terminal(ProgressDisplay):
    """Prints a run: in short, or with full specs and digests.

    Parameters
    ----------
    echo : callable
        Prints a line.
    verbose : bool
        As for `request_lines`.
    """

    def __init__(self, echo: Callable[[str], None], *, verbose: bool = False) -> None:
        self.echo = echo
        self.verbose = verbose
        self.flags = ""  # of the run's workspace, for the command that resumes it

    def started(self, request: Request, record: Record, *, expected: str, resumed: bool) -> None:
        self.flags = request.workspace.flags
        for line in request_lines(request, expected, verbose=self.verbose):
            self.line(line)
        for line in _origin_lines(record, resumed):
            self.line(line)

    def line(self, text: str) -> None:
        self.echo(printable(text))

    def finished(self, record: Record, pipeline: Pipeline | None) -> None:
        for line in result_lines(record.result):
            self.line(line)

    def failed(self, record: Record, reason: str, *, stopped: bool) -> None:
        resume = harness_command("run", "--resume", record.run_id, flags=self.flags)
        self.line(f"resume     {resume}")


def _origin_lines(record: Record, resumed: bool) -> list[str]:
    if record.spec.weights_of:
        return [f"weights    of {record.spec.weights_of}"]
    return [f"resuming   {record.run_id}"] if resumed else []


def _error(estimate: Estimate) -> str:
    low, high = estimate.interval.low, estimate.interval.high
    return f"{percent(estimate.value)} error, 95 % interval {interval(low, high)}"


def _copies_text(found: Copies) -> str:
    """Return the counts of copies among the test images, and the errors without them."""
    counts = copies(found.in_train, found.repeats)
    if found.top1_error is None:
        return f"{counts}; without them nothing is left"
    top5 = f"; top-5 {_error(found.top5_error)}" if found.top5_error else ""
    return f"{counts}; without them, n = {found.n:,}: top-1 {_error(found.top1_error)}{top5}"


def _fit_line(result: Result) -> str:
    cost = result.cost
    cached = ""
    if cost.cached_seconds >= 0.1:
        cached = f", of which the cache saved {duration(cost.cached_seconds)}"
    refitted = " (train + tune, settings chosen on tune)" if result.refitted else ""
    seconds = duration(cost.fit_seconds)
    return f"fit        {seconds}{cached}; {result.n_fit:,} labeled images{refitted}"


def _cost_lines(cost: Cost) -> list[str]:
    lines = []
    if cost.score_seconds is not None:
        rate = cost.images_per_second or 0.0
        lines.append(f"score      {duration(cost.score_seconds)}, {rate:,.0f} images/s")
    if cost.fit_cpu_seconds is not None:
        scoring = ""
        if cost.score_cpu_seconds is not None:
            scoring = f", {duration(cost.score_cpu_seconds)} in score"
        lines.append(f"CPU        {duration(cost.fit_cpu_seconds)} in fit{scoring}")
    model = f"; model {size(cost.model_bytes)}" if cost.model_bytes is not None else ""
    return [*lines, f"memory     {cost.peak_memory_mb:,.0f} MB at most{model}"]
