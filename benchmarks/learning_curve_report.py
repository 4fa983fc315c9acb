"""What a learning curve says: the table of errors, the power laws, and where they cross."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, stdev

import numpy as np

from benchmarks.learning_curve_study import PipelineRuns
from benchmarks.power_laws import EXTRAPOLATION_FACTOR, Crossing, FittedCurves, fit_curves
from benchmarks.study_runs import top1_error
from harness.comparison.published import published
from harness.metrics.errors import top_k_wrong
from harness.render.table import Column, Table
from harness.render.text import duration
from harness.runs.record import Record


def error_table(runs: Sequence[PipelineRuns]) -> str:
    """Return a table with a row per size and pipeline.

    Its figures are the mean error, its standard deviation over subset seeds, the number of seeds
    and the mean time of a fit.
    """
    images = {fraction: n for pipeline in runs for fraction, n in pipeline.images.items()}
    left = [Column(name, "left") for name in ("images", "of train", "pipeline")]
    head: list[Column | str] = [*left, "error", "sd", "seeds", "fit"]
    rows = []
    for fraction, n in sorted(images.items()):
        for name, pipeline in zip(short_names(runs), runs, strict=True):
            rows.append([f"{n:,}", f"{fraction:g} %", name, *error_cells(pipeline, fraction)])
    return Table(head, rows).to_text()


def error_cells(runs: PipelineRuns, fraction: float) -> list[str]:
    results = [record.result for record in runs.records.get(fraction, {}).values()]
    if not results:
        return ["-", "-", "0", "-"]
    errors = [top1_error(result) for result in results]
    deviation = f"{stdev(errors):.2f}" if len(errors) > 1 else "-"
    fit_seconds = mean(result.cost.fit_seconds for result in results)
    return [f"{mean(errors):.2f} %", deviation, str(len(errors)), duration(fit_seconds)]


def short_names(runs: Sequence[PipelineRuns]) -> list[str]:
    """Return each pipeline's name, or its spec where several share the name."""
    names = [pipeline.pipeline.partition(",")[0] for pipeline in runs]
    return [
        name if names.count(name) == 1 else pipeline.pipeline
        for name, pipeline in zip(names, runs, strict=True)
    ]


def source_note(runs: PipelineRuns) -> str:
    """Return a note if the runs are from different states of the pipeline's source."""
    records = [record for by_seed in runs.records.values() for record in by_seed.values()]
    hashes = sorted({record.result.source_hash for record in records})
    if len(hashes) < 2:
        return ""
    return f" (its runs are from {len(hashes)} states of its source: {', '.join(hashes)})"


def fit_runs(runs: Sequence[PipelineRuns]) -> FittedCurves | None:
    """Fit laws to the points and seeds that every pipeline has finished.

    Returns
    -------
    FittedCurves or None
        None if those are fewer than two sizes.
    """
    n, points = [], []
    for fraction, images in runs[0].images.items():
        seeds = set.intersection(*(set(pipeline.records.get(fraction, {})) for pipeline in runs))
        if seeds:
            n.append(images)
            points.append(np.stack([wrong_of_seeds(p.records[fraction], seeds) for p in runs]))
    return fit_curves(n, points) if len(n) > 1 else None


def wrong_of_seeds(records: dict[int, Record], seeds: set[int]) -> np.ndarray:
    """Return whether each test image was misclassified, (seeds, images) bool."""
    return np.stack([wrong_by_key(records[seed]) for seed in sorted(seeds)])


def wrong_by_key(record: Record) -> np.ndarray:
    """Return (images,) bool in the order of the keys, which is the same in all runs."""
    scores = record.scores()
    return top_k_wrong(scores, 1)[np.argsort(scores.keys)]


def findings(runs: Sequence[PipelineRuns], curves: FittedCurves) -> list[str]:
    """Return the laws, the crossings, what was measured at each size, and the range of the laws."""
    names = short_names(runs)
    lines = [
        f"law        {name}: error = {law.a:.2f} + {law.b:.4g} n^-{law.c:.3f}, root mean square "
        f"residual {residual:.2f} points at {len(curves.n)} sizes"
        for name, law, residual in zip(names, curves.laws, curves.residuals, strict=True)
    ]
    if len(curves.n) == 2:
        lines.append("note       a law fits any two sizes exactly: nothing is left to check it by")
    for number, name in enumerate(names[1:], 1):
        text = crossing_text(name, names[0], curves.crossing(0, number), curves)
        lines.append(f"crossing   {text}")
        gaps = curves.errors[number] - curves.errors[0]
        lower = [f"{n:,.0f}" for n, gap in zip(curves.n, gaps, strict=True) if gap < 0]
        lines.append(
            f"measured   {name} has a lower error than {names[0]} "
            f"at {', '.join(lower) or 'none'} of the measured sizes"
        )
    largest = np.array([curves.largest_extrapolated])
    errors = [
        f"{name} {law(largest)[0]:.1f} %" for name, law in zip(names, curves.laws, strict=True)
    ]
    lines.append(
        f"range      the laws end at {largest[0]:,.0f} images, {EXTRAPOLATION_FACTOR:g} times the "
        f"largest size: {', '.join(errors)}"
    )
    return lines


def crossing_text(after: str, before: str, crossing: Crossing, curves: FittedCurves) -> str:
    """Return a sentence about from where on `after` has a lower error than `before`."""
    ends = f"{curves.n.min():,.0f} to {curves.largest_extrapolated:,.0f} images"
    if math.isinf(crossing.n):
        text = f"none in range: {after} does not stay below {before} anywhere from {ends}"
    elif crossing.n == 0:
        text = f"below the range: {after} has a lower error than {before} from {ends}"
    else:
        n = round_to_two_digits(crossing.n)
        text = f"{after} has a lower error than {before} from {n} images on"
    low, high = round_to_two_digits(crossing.low), round_to_two_digits(crossing.high)
    text = f"{text}; 95 % interval [{low}, {high}]"
    if crossing.missing:
        text += f", {crossing.missing:.0%} of the resamples do not cross in range"
    return text


def round_to_two_digits(n: float) -> str:
    """Return the number with the two digits that the data can support."""
    if n == 0:
        return "below the range"
    return "none in range" if math.isinf(n) else f"{float(f'{n:.2g}'):,.0f}"


def published_beyond_range() -> str:
    """Return the published error with 12 million more images, where no law is evaluated."""
    without, with_extra = published().figure("cnn-2012"), published().figure("cnn-star-2012")
    return (
        "published  no law is evaluated at 12 million images; "
        f"{without.source}: {without.method} {without.top5} % top-5 error on "
        f"{without.dataset} ({without.split}); "
        f"{with_extra.method}, {with_extra.extra_data}, {with_extra.top5} %"
    )
