"""What a row of a comparison cost beside how accurate it is, and which rows are worth their cost."""

from __future__ import annotations

from collections.abc import Sequence

from harness.runs.result import COST_FIELDS, Cost, Result

UNRECORDED = "recorded before this was kept"


def mean_cost(results: Sequence[Result]) -> tuple[Cost, dict[str, str]]:
    """The mean of each figure over the runs of several seeds; absent where it is so of one of them."""
    means: dict[str, float | None] = {}
    absent: dict[str, str] = {}
    for name in COST_FIELDS:
        values = [getattr(result.cost, name) for result in results]
        means[name] = None if None in values else sum(values) / len(values)
        if None in values:
            absent[name] = results[values.index(None)].missing_reasons.get(name, UNRECORDED)
    return Cost(**means), absent  # type: ignore[arg-type]


def frontier(points: Sequence[tuple[float, float]]) -> tuple[bool, ...]:
    """Of each (error, cost): whether no other is at least as good in both and better in one (Pareto); of equal ones all are or none is."""
    return tuple(
        not any(e <= error and c <= spent and (e, c) != (error, spent) for e, c in points)
        for error, spent in points
    )  # fmt: skip
