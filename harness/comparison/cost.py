"""What a row of a comparison cost beside how accurate it is, and which rows are worth their cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from harness.runs.result import Result

UNRECORDED = "recorded before this was kept"


@dataclass(frozen=True)
class Cost:
    """Of one run, or the means over seeds; as in Result. What could not be counted is None, and `absent` says why."""

    fit_cpu_seconds: float | None = None
    score_cpu_seconds: float | None = None
    fit_device_seconds: float | None = None
    score_device_seconds: float | None = None
    peak_memory_mb: float | None = None
    params_millions: float | None = None
    gflops_per_image: float | None = None
    model_bytes: float | None = None
    absent: Mapping[str, str] = field(default_factory=dict)


FIGURES = tuple(each.name for each in fields(Cost) if each.name != "absent")


def cost(results: Sequence[Result]) -> Cost:
    """The mean of each figure over the runs of several seeds; absent where it is so of one of them."""
    means: dict[str, float | None] = {}
    absent: dict[str, str] = {}
    for name in FIGURES:
        values = [getattr(result, name) for result in results]
        means[name] = None if None in values else sum(values) / len(values)
        if None in values:
            absent[name] = results[values.index(None)].absent.get(name, UNRECORDED)
    return Cost(**means, absent=absent)


def frontier(points: Sequence[tuple[float, float]]) -> tuple[bool, ...]:
    """Of each (error, cost): whether no other is at least as good in both and better in one (Pareto); of equal ones all are or none is."""
    return tuple(
        not any(e <= error and c <= spent and (e, c) != (error, spent) for e, c in points)
        for error, spent in points
    )  # fmt: skip
