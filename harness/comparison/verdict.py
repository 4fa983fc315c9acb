"""Which pipeline has the lower error, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from harness.comparison.rows import Delta, Row
from harness.render.text import p_value, percent

ALPHA = 0.05
Outcome = Literal["better", "worse", "open"]


def outcome(row: Row) -> Outcome:
    """Return whether a row has a lower or a higher error than the reference, or it is open.

    The exact p decides, adjusted by Holm's method where several rows are tested.
    """
    delta = row.delta
    if delta is None or delta.p_holm >= ALPHA or not delta.points:
        return "open"
    return "better" if delta.points < 0 else "worse"


def summary(rows: Sequence[Row], n_test: int) -> str:
    """Return one sentence about all rows: the verdict of two, or how several compare."""
    reference, *others = rows
    if len(others) == 1:
        return verdict(others[0], reference, n_test)
    groups = (
        ("lower for", [row for row in others if outcome(row) == "better"]),
        ("higher for", [row for row in others if outcome(row) == "worse"]),
        ("not significantly different for", [row for row in others if outcome(row) == "open"]),
    )
    compared = ", ".join(
        f"{words} {', '.join(f'{row.label} ({percent(row.top1_error.value)})' for row in group)}"
        for words, group in groups
        if group
    )
    error = percent(reference.top1_error.value)
    return (
        f"Against {reference.label} ({error} top-1 error on {n_test:,} test images) the error is "
        f"{compared}."
    )


def verdicts(rows: Sequence[Row], n_test: int) -> list[str]:
    """Return a sentence for each row after the first, which is the reference."""
    return [verdict(row, rows[0], n_test) for row in rows[1:]]


def verdict(row: Row, reference: Row, n_test: int) -> str:
    """Return how the row compares with the reference: the difference, its interval and p."""
    assert row.delta
    delta, name, other = row.delta, row.label, reference.label
    errors = f"{percent(row.top1_error.value)} against {percent(reference.top1_error.value)}"
    several = len(row.seeds) + len(reference.seeds) > 2
    test = _test_words(delta, "sign-flip" if several else "McNemar")
    evidence = f"95 % interval {_interval_words(delta)}; {test}"
    if several:
        evidence += (
            f"; means over {len(row.seeds)} seeds of {name} and {len(reference.seeds)} of {other}"
        )
    difference = f"{_points_words(delta.points)} ({evidence})"
    result = outcome(row)
    if result != "open":
        comparative = "lower" if result == "better" else "higher"
        return (
            f"{name} has a {comparative} top-1 error than {other}: {errors} on {n_test:,} test "
            f"images, {difference}."
        )
    return (
        f"{n_test:,} test images do not separate {name} from {other}: {errors} top-1 error, "
        f"{difference}; {_why_open(delta)}."
    )


def _why_open(delta: Delta) -> str:
    if delta.p < ALPHA:
        return "significant by itself, but not after the adjustment for all rows tested"
    if delta.min_detectable is None:
        return "they disagree on too few images for any difference to be significant"
    return (
        "given how often they disagree, a difference below "
        f"{delta.min_detectable:.2f} points is not detectable"
    )


def _points_words(points: float) -> str:
    if not points:
        return "no difference"
    return f"{abs(points):.2f} points {'lower' if points < 0 else 'higher'}"


def _interval_words(delta: Delta) -> str:
    low, high = delta.interval.low, delta.interval.high
    if not low and not high:
        return "only 0"
    if high <= 0 or low >= 0:
        near, far = sorted((abs(low), abs(high)))
        return f"{near:.2f} to {far:.2f} {'lower' if low < 0 else 'higher'}"
    return f"from {-low:.2f} lower to {high:.2f} higher"


def _test_words(delta: Delta, test: str) -> str:
    exact = f"exact {test} p {_equals(delta.p)}"
    if delta.p_holm == delta.p:
        return exact
    return f"{exact}, Holm-adjusted p {_equals(delta.p_holm)}"


def _equals(p: float) -> str:
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"
