"""The sentence that says which pipeline has the lower error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.comparison.rows import Delta, Row
from harness.comparison.verdict import outcome, summary, verdict, verdicts
from harness.runs.result import Estimate, Interval

DELTA = Delta(
    points=-2.5,
    interval=Interval(-4.0, -1.0),
    p=0.002,
    p_holm=0.002,
    min_detectable=1.2,
    seed_se=None,
    image_se=0.7,
)


@pytest.fixture
def old(make_row: Callable[..., Row]) -> Row:
    return make_row(label="old", top1_error=Estimate(12.0, Interval(10.0, 14.0)))


@pytest.fixture
def new(make_row: Callable[..., Row]) -> Row:
    return make_row(label="new", top1_error=Estimate(9.5, Interval(8.0, 11.0)), delta=DELTA)


def test_a_lower_error_is_told_with_its_interval_and_p(old: Row, new: Row) -> None:
    assert verdict(new, old, 500) == (
        "new has a lower top-1 error than old: 9.50 % against 12.00 % on 500 test images, "
        "2.50 points lower (95 % interval 1.00 to 4.00 lower; exact McNemar p = 0.002)."
    )
    assert verdicts([old, new], 500) == [verdict(new, old, 500)]


def test_a_higher_error_is_told_alike(old: Row, new: Row) -> None:
    delta = replace(DELTA, points=2.5, interval=Interval(1.0, 4.0))
    worse = replace(new, delta=delta, top1_error=Estimate(14.5, Interval(13.0, 16.0)))
    assert outcome(worse) == "worse"
    text = verdict(worse, old, 500)
    assert "new has a higher top-1 error than old: 14.50 % against 12.00 %" in text
    assert "2.50 points higher (95 % interval 1.00 to 4.00 higher" in text


def test_an_open_comparison_says_what_would_have_been_detectable(old: Row, new: Row) -> None:
    delta = replace(DELTA, p=0.3, p_holm=0.3, interval=Interval(-4.0, 0.5))
    assert verdict(replace(new, delta=delta), old, 500) == (
        "500 test images do not separate new from old: 9.50 % against 12.00 % top-1 error, 2.50 "
        "points lower (95 % interval from 4.00 lower to 0.50 higher; exact McNemar p = 0.300); "
        "given how often they disagree, a difference below 1.20 points is not detectable."
    )


def test_equal_predictions_have_no_difference(old: Row, new: Row) -> None:
    delta = Delta(0.0, Interval(0.0, 0.0), 1.0, 1.0, None, None, 0.0)
    text = verdict(replace(new, delta=delta), old, 500)
    assert "no difference (95 % interval only 0" in text
    assert text.endswith("they disagree on too few images for any difference to be significant.")


def test_the_adjusted_p_decides_among_several_rows(old: Row, new: Row) -> None:
    adjusted = replace(new, delta=replace(DELTA, p=0.03, p_holm=0.06))
    assert outcome(adjusted) == "open"
    text = verdict(adjusted, old, 500)
    assert "exact McNemar p = 0.030, Holm-adjusted p = 0.060" in text
    assert text.endswith("but not after the adjustment for all rows tested.")


def test_several_seeds_are_named_and_tested_by_sign_flips(old: Row, new: Row) -> None:
    text = verdict(replace(new, seeds=(0, 1, 2)), old, 500)
    assert "exact sign-flip p = 0.002; means over 3 seeds of new and 1 of old" in text


def test_many_rows_are_summarized_in_one_sentence(old: Row, new: Row) -> None:
    worse = replace(new, label="worse", delta=replace(DELTA, points=2.5))
    unclear = replace(new, label="unclear", delta=replace(DELTA, p_holm=0.3))
    assert summary([old, new, worse, unclear], 500) == (
        "Against old (12.00 % top-1 error on 500 test images) the error is lower for new (9.50 %), "
        "higher for worse (9.50 %), not significantly different for unclear (9.50 %)."
    )
    assert summary([old, new], 500) == verdict(new, old, 500)
