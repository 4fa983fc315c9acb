"""Costs: means over seeds, what is missing and why, and the frontier against its definition."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from harness.comparison.cost import UNRECORDED, cost_notes, cost_table, frontier, mean_cost
from harness.comparison.rows import Row
from harness.runs.result import Cost, Estimate, Interval, Result


@pytest.mark.parametrize(
    ("points", "on"),
    [
        # hog-svm, baseline, alexnet on CIFAR-10
        ([(40, 139), (23, 2717), (15, 1358)], (True, False, True)),
        ([(40, 10)], (True,)),
        ([(40, 10), (40, 10)], (True, True)),  # equal points: neither beats the other
        ([(40, 10), (40, 20)], (True, False)),  # as accurate, more expensive
        ([(40, 10), (50, 10)], (True, False)),  # as cheap, less accurate
        ([(10, 1), (20, 2), (30, 3)], (True, False, False)),
        ([(30, 1), (20, 2), (10, 3)], (True, True, True)),
    ],
)
def test_the_frontier(points: list[tuple[float, float]], on: tuple[bool, ...]) -> None:
    assert frontier(points) == on


def test_from_cheap_to_expensive_only_the_frontier_improves() -> None:
    """An independent definition: a point is on the frontier if it beats all cheaper ones."""
    values = np.random.default_rng(0).permutation(400).reshape(200, 2)
    points = [(float(error), float(cost)) for error, cost in values]
    best, expected = np.inf, set()
    for error, cost in sorted(points, key=lambda point: (point[1], point[0])):
        if error < best:
            best = error
            expected.add((error, cost))
    assert {point for point, on in zip(points, frontier(points), strict=True) if on} == expected


def test_seeds_are_averaged_and_a_figure_that_one_of_them_lacks_is_missing(
    make_result: Callable[..., Result],
) -> None:
    one = make_result(
        fit_cpu_seconds=10.0,
        score_cpu_seconds=2.0,
        model_bytes=1000,
        missing_reasons={"fit_device_seconds": "computed on the CPU"},
    )
    cost, missing = mean_cost([one, make_result(fit_cpu_seconds=30.0, model_bytes=1001)])
    assert (cost.fit_cpu_seconds, cost.model_bytes, cost.peak_memory_mb) == (20.0, 1000.5, 812.3)
    assert cost.score_cpu_seconds is cost.fit_device_seconds is None
    assert missing["score_cpu_seconds"] == UNRECORDED
    assert missing["fit_device_seconds"] == "computed on the CPU"
    assert "fit_cpu_seconds" not in missing


def test_the_table_omits_figures_that_no_row_has_and_says_why(make_row: Callable[..., Row]) -> None:
    on_cpu = {"fit_device_seconds": "computed on the CPU"}
    hog = make_row(
        cost=Cost(139.0, 978.0, fit_cpu_seconds=200.0, model_bytes=211_700),
        missing_reasons={"gflops_per_image": "only networks list their layers", **on_cpu},
        on_frontier=True,
    )
    net = make_row(
        label="alexnet",
        top1_error=Estimate(15.0, Interval(14.0, 16.0)),
        cost=Cost(1358.0, 2000.0, gflops_per_image=0.034, model_bytes=4.1e6),
        missing_reasons={**on_cpu, "images_per_second": "not a column"},
    )
    table = cost_table([hog, net])
    heads = ["pipeline", "fit", "fit CPU", "memory", "GFLOPs/image", "model", "frontier"]
    assert table.heads == heads
    assert table.rows == [
        ["hog-svm", "2 min 19 s", "3 min 20 s", "978 MB", "-", "211.7 kB", "yes"],
        ["alexnet", "22 min 38 s", "-", "2,000 MB", "0.034", "4.1 MB", "-"],
    ]
    assert cost_notes([hog, net])[1:] == [
        "missing from the cost (only networks list their layers): GFLOPs/image of hog-svm",
        "missing from the cost (computed on the CPU): fit device of hog-svm, alexnet",
    ]
