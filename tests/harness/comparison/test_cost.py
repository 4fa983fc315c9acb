"""Cost beside accuracy: means over seeds, what is absent and why, and the frontier against its definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from harness.comparison.cost import UNRECORDED, Cost, cost, frontier
from harness.comparison.table import (
    Comparison,
    Row,
    comparison_html,
    comparison_markdown,
    comparison_text,
    cost_notes,
    cost_table,
)
from harness.runs.result import Result

ROW = Row(
    pipeline="hog-svm,c=none", name="hog-svm", label="hog-svm", family="hand-crafted", notes=(), run_ids=("hog-svm-1",), seeds=(0,), source_hashes=("0",),
    finished=("2026-01-01T00:00:00+00:00",), n_fit=50, n_labeled=50, classes=2, augmentation=(), views=1, models=1, test_evaluations=1, top1_error=40.0,
    top1_error_ci_low=39.0, top1_error_ci_high=41.0, top1_error_exact_low=39.0, top1_error_exact_high=41.0, top1_error_sd=None,
    top1_error_se=0.5, top5_error=None, mean_class_error=45.5, fit_seconds=139.0, score_seconds=1.0, on_frontier=True,
)  # fmt: skip


@pytest.mark.parametrize(
    ("points", "on"),
    [
        (
            [(40, 139), (23, 2717), (15, 1358)],
            (True, False, True),
        ),  # hog-svm, baseline, alexnet on CIFAR-10
        ([(40, 10)], (True,)),
        ([(40, 10), (40, 10)], (True, True)),  # the same twice: neither beats the other
        ([(40, 10), (40, 20)], (True, False)),  # as accurate and dearer
        ([(40, 10), (50, 10)], (True, False)),  # as cheap and worse
        ([(10, 1), (20, 2), (30, 3)], (True, False, False)),
        ([(30, 1), (20, 2), (10, 3)], (True, True, True)),
    ],
)
def test_the_frontier(points: list[tuple[float, float]], on: tuple[bool, ...]) -> None:
    assert frontier(points) == on


def test_walking_from_cheap_to_dear_only_the_frontier_ever_improves() -> None:
    """Another way to the same: sorted by cost, then error, a point is on the frontier when it is better than all before it."""
    points = [
        (float(e), float(c)) for e, c in np.random.default_rng(0).permutation(400).reshape(200, 2)
    ]
    best, expected = np.inf, set()
    for error, spent in sorted(points, key=lambda point: (point[1], point[0])):
        if error < best:
            best = error
            expected.add((error, spent))
    assert {point for point, on in zip(points, frontier(points), strict=True) if on} == expected


def test_seeds_are_averaged_and_a_figure_that_one_of_them_lacks_is_absent(
    make_result: Callable[..., Result],
) -> None:
    one = make_result(
        fit_cpu_seconds=10.0,
        score_cpu_seconds=2.0,
        model_bytes=1000,
        missing_reasons={"fit_device_seconds": "computed on the CPU"},
    )
    other = make_result(fit_cpu_seconds=30.0, model_bytes=1001)
    found = cost([one, other])
    assert (found.fit_cpu_seconds, found.model_bytes, found.peak_memory_mb) == (20.0, 1000.5, 812.3)
    assert found.score_cpu_seconds is found.fit_device_seconds is None
    assert (
        found.missing_reasons["score_cpu_seconds"],
        found.missing_reasons["fit_device_seconds"],
    ) == (
        UNRECORDED,
        "computed on the CPU",
    )
    assert "fit_cpu_seconds" not in found.missing_reasons


def test_the_table_leaves_out_what_no_row_has_and_says_why() -> None:
    absent = {
        "gflops_per_image": "only networks list their layers",
        "fit_device_seconds": "computed on the CPU",
    }
    hog = replace(
        ROW,
        cost=Cost(
            fit_cpu_seconds=200.0, peak_memory_mb=978.0, model_bytes=211_700, missing_reasons=absent
        ),
    )
    net = replace(
        ROW, name="alexnet", label="alexnet", top1_error=15.0, fit_seconds=1358.0, on_frontier=True,
        cost=Cost(gflops_per_image=0.034, model_bytes=4.1e6, missing_reasons={"fit_device_seconds": "computed on the CPU"}),
    )  # fmt: skip
    head, cells = cost_table([hog, net])
    assert head == ["cost", "fit", "fit CPU", "memory", "GFLOPs an image", "model", "frontier"]
    assert cells == [
        ["hog-svm", "2 min 19 s", "3 min 20 s", "978 MB", "-", "211.7 kB", "yes"],
        ["alexnet", "22 min 38 s", "-", "-", "0.034", "4.1 MB", "yes"],
    ]
    assert cost_notes([hog, net])[1:] == [
        "not in the cost, only networks list their layers: GFLOPs an image of hog-svm",
        "not in the cost, computed on the CPU: fit device of hog-svm, alexnet",
    ]


def test_it_stands_below_the_first_table_in_every_form() -> None:
    slow = replace(
        ROW, name="slow", label="slow", fit_seconds=400.0, on_frontier=False, mean_class_delta=0.0
    )
    made = Comparison("digits", "digits", "0" * 32, 50, (ROW, slow), (), (), None)
    text, markdown, page = comparison_text(made), comparison_markdown(made), comparison_html(made)
    first, second, _ = text.split("\n\n", 2)
    assert "McNemar" in first
    assert [" ".join(line.split()) for line in second.splitlines()[2:]] == [
        "hog-svm 2 min 19 s yes",
        "slow 6 min 40 s -",
    ]
    assert "| cost | fit | frontier |" in markdown
    assert page.count("<table>") == 2
    assert made.to_dict()["rows"][1]["on_frontier"] is False
    assert "peak_memory_mb" in made.to_dict()["rows"][0]["cost"]
    assert list(made.to_frame()["cost.peak_memory_mb"]) == [None, None]
