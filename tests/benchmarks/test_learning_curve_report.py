"""Crossings are described in words, and pipelines are named apart."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.learning_curve_report import crossing_text, round_to_two_digits, short_names
from benchmarks.learning_curve_study import PipelineRuns
from benchmarks.power_laws import Crossing, FittedCurves


@pytest.mark.parametrize(
    ("crossing", "text"),
    [
        (
            Crossing(3_456, 2_345, 4_567, 0),
            "alexnet has a lower error than baseline from 3,500 images on; "
            "95 % interval [2,300, 4,600]",
        ),
        (
            Crossing(math.inf, 90_000, math.inf, 0.8),
            "none in range: alexnet does not stay below baseline anywhere from 1,000 to 200,000 "
            "images; 95 % interval [90,000, none in range], 80% of the resamples do not cross in "
            "range",
        ),
        (
            Crossing(0, 0, 1_500, 0),
            "below the range: alexnet has a lower error than baseline from 1,000 to 200,000 "
            "images; 95 % interval [below the range, 1,500]",
        ),
    ],
)
def test_a_crossing_is_described(crossing: Crossing, text: str) -> None:
    empty = np.zeros((2, 2))
    curves = FittedCurves(np.array([1_000.0, 50_000.0]), empty, (), (), empty)
    assert crossing_text("alexnet", "baseline", crossing, curves) == text


def test_numbers_of_images_have_two_digits() -> None:
    assert round_to_two_digits(123_456) == "120,000"


def test_variants_of_one_pipeline_are_named_by_their_specs() -> None:
    runs = [
        PipelineRuns(pipeline, {}, {})
        for pipeline in ("baseline", "alexnet,updates=9", "alexnet,lrn=false,updates=9")
    ]
    assert short_names(runs) == ["baseline", "alexnet,updates=9", "alexnet,lrn=false,updates=9"]
    assert short_names(runs[:2]) == ["baseline", "alexnet"]
