"""The picture holds points, laws with bands, and a crossing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.learning_curve_plot import draw, draw_crossing
from benchmarks.learning_curve_study import PipelineRuns
from benchmarks.power_laws import FittedCurves, fit_curves
from harness.runs.result import Estimate, Interval

SIZES = [100, 1_000, 10_000]


@pytest.fixture(scope="module")
def curves() -> FittedCurves:
    """The curves of two pipelines, of which the second has the lower error from about 1,000 on."""
    rng = np.random.default_rng(0)
    rates = [(0.3, 0.6), (0.25, 0.25), (0.2, 0.1)]
    points = [rng.uniform(size=(1, 1, 400)) < np.array(rate)[:, None, None] for rate in rates]
    return fit_curves(SIZES, points, resamples=50)


def test_points_laws_and_crossing_are_drawn(workdir: Path, curves: FittedCurves) -> None:
    runs = []
    for pipeline, errors in zip(("before", "after"), curves.errors, strict=True):
        records: dict[float, Any] = {}
        for n, error in zip(SIZES, errors, strict=True):
            estimate = Estimate(float(error), Interval(0, 100))
            records[n] = {0: SimpleNamespace(result=SimpleNamespace(top1_error=estimate))}
        runs.append(PipelineRuns(pipeline, {n: n for n in SIZES}, records))
    draw(runs, curves, workdir / "curve.png", "two pipelines")
    assert (workdir / "curve.png").stat().st_size > 10_000


class DrawnLines:
    """Stands in for axes and records what is drawn on them."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float, float | None]] = []

    def axvline(self, x: float, **options: object) -> None:
        self.calls.append(("line", x, None))

    def axvspan(self, low: float, high: float, **options: object) -> None:
        self.calls.append(("band", low, high))


def test_the_band_of_a_crossing_ends_where_the_laws_do(
    curves: FittedCurves, monkeypatch: pytest.MonkeyPatch
) -> None:
    axes = DrawnLines()
    crossing = SimpleNamespace(n=900.0, low=0.0, high=float("inf"))
    find: Callable[..., Any] = lambda *pipelines: crossing  # noqa: E731 (typed)
    monkeypatch.setattr(FittedCurves, "crossing", find)
    draw_crossing(axes, curves, 1)
    assert axes.calls == [("line", 900.0, None), ("band", 100.0, 40_000.0)]


def test_a_crossing_out_of_range_is_not_drawn(
    curves: FittedCurves, monkeypatch: pytest.MonkeyPatch
) -> None:
    axes = DrawnLines()
    for n in (0.0, float("inf")):
        crossing = SimpleNamespace(n=n)
        monkeypatch.setattr(FittedCurves, "crossing", lambda *pipelines, c=crossing: c)
        draw_crossing(axes, curves, 1)
    assert axes.calls == []
