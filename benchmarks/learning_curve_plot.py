"""The picture of a learning curve: measured points, power laws with bands, and crossings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.learning_curve_report import round_to_two_digits, short_names
from benchmarks.learning_curve_study import PipelineRuns
from benchmarks.power_laws import FittedCurves, sizes_in_range
from benchmarks.study_runs import top1_error


def draw(runs: Sequence[PipelineRuns], curves: FittedCurves, path: Path, title: str) -> None:
    """Draw the points of every seed, the laws and the crossings on logarithmic axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(
        xscale="log",
        yscale="log",
        xlabel="labeled training images",
        ylabel="top-1 error, %",
        title=title,
    )
    for number, (pipeline, name) in enumerate(zip(runs, short_names(runs), strict=True)):
        color = f"C{number}"
        draw_law(axes, curves, number, color, name)
        for fraction, n in pipeline.images.items():
            errors = [top1_error(record.result) for record in pipeline.records[fraction].values()]
            axes.plot([n] * len(errors), errors, "o", color=color, markersize=4, alpha=0.7)
    for number in range(1, len(runs)):
        draw_crossing(axes, curves, number)
    format_axes(axes)
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, dpi=110)


def draw_law(axes: Any, curves: FittedCurves, number: int, color: str, label: str) -> None:
    """Draw a law, dashed where extrapolated, with the 95 % band of the resamples."""
    law = curves.laws[number]
    n = sizes_in_range(float(curves.n.min()), float(curves.n.max()), count=120)
    measured = n <= curves.n.max()
    axes.plot(n[measured], law(n[measured]), color=color, label=label)
    axes.plot(n[~measured], law(n[~measured]), color=color, linestyle="--")
    low, high = np.quantile(curves.resampled[number](n), [0.025, 0.975], axis=0)
    axes.fill_between(n, low, high, color=color, alpha=0.2, linewidth=0)


def draw_crossing(axes: Any, curves: FittedCurves, number: int) -> None:
    """Draw where pipeline `number` crosses the first, with its interval, if it does in range."""
    crossing = curves.crossing(0, number)
    if not 0 < crossing.n < math.inf:
        return
    label = f"crossing at {round_to_two_digits(crossing.n)}"
    axes.axvline(crossing.n, color="0.3", linewidth=1, label=label)
    low = max(crossing.low, float(curves.n.min()))
    high = min(crossing.high, curves.largest_extrapolated)
    axes.axvspan(low, high, color="0.5", alpha=0.15)


def format_axes(axes: Any) -> None:
    """Write plain numbers at the ticks instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    def label_2_3_5(value: float, position: object) -> str:
        return f"{value:g}" if f"{value:e}"[0] in "235" else ""

    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(label_2_3_5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
