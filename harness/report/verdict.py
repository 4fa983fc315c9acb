"""Who won, in one plain sentence."""

from __future__ import annotations

from typing import Literal

from harness.comparison.table import Comparison, Row
from harness.render.text import p_value, percent

ALPHA = 0.05
Outcome = Literal["better", "worse", "open"]


def outcome(row: Row) -> Outcome:
    """Of a row that is not the reference, by its exact p, of several rows Holm's: whether it errs less, more, or n cannot tell."""
    p = row.p_value if row.p_holm is None else row.p_holm
    if p is None or p >= ALPHA or not row.top1_delta:
        return "open"
    return "better" if row.top1_delta < 0 else "worse"


def verdicts(comparison: Comparison) -> list[str]:
    """A sentence for each row after the first, which it is held against."""
    first, *others = comparison.rows
    return [verdict(row, first, comparison.n_test) for row in others]


def verdict(row: Row, reference: Row, n: int) -> str:
    """The row against the reference on n test images: by how much, the interval of the difference, and p."""
    found, name, reference_name = outcome(row), row.label, reference.label
    errors = f"{percent(row.top1_error)} top-1 error against {percent(reference.top1_error)}"
    several = len(row.seeds) + len(reference.seeds) > 2
    tests = f"95 % interval {_span(row)}; {_tests(row, 'sign-flip' if several else 'McNemar')}"
    seeds = (
        f"; means over seeds, {len(row.seeds)} of {name} and {len(reference.seeds)} of {reference_name}"
        if several
        else ""
    )
    if found != "open":
        verb = "errs less than" if found == "better" else "errs more than"
        return f"{name} {verb} {reference_name}: {errors} on {n:,} test images, {_points(row.top1_delta or 0)} ({tests}{seeds})."
    if row.p_value is not None and row.p_value < ALPHA:
        least = "by its own p it could, but not among so many rows tested"
    elif row.smallest_detectable is None:
        least = "the two disagree on too few of them for any difference to show"
    else:
        least = f"on as many as the two disagree on a difference below {row.smallest_detectable:.2f} points cannot show"
    return f"{n:,} test images cannot tell {name} from {reference_name}: {errors}, {_points(row.top1_delta or 0)} ({tests}{seeds}); {least}."


def _points(delta: float) -> str:
    return (
        f"{abs(delta):.2f} points {'fewer' if delta < 0 else 'more'}" if delta else "no difference"
    )


def _span(row: Row) -> str:
    low, high = row.top1_delta_low or 0.0, row.top1_delta_high or 0.0
    if not low and not high:
        return "of nothing but 0"
    if high <= 0 or low >= 0:
        near, far = sorted((abs(low), abs(high)))
        return f"{near:.2f} to {far:.2f} {'fewer' if low < 0 else 'more'}"
    return f"from {-low:.2f} fewer to {high:.2f} more"


def _tests(row: Row, test: str) -> str:
    def equals(p: float | None) -> str:
        text = p_value(p)
        return text if text.startswith("<") else f"= {text}"

    alone = f"exact {test} p {equals(row.p_value)}"
    return (
        alone
        if row.p_holm is None or row.p_holm == row.p_value
        else f"{alone}, {equals(row.p_holm)} adjusted for all rows (Holm)"
    )
