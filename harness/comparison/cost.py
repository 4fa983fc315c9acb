"""What each row of a comparison cost, and which rows are worth their cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.comparison.rows import Row
from harness.render.table import Column, Table
from harness.render.text import duration, size
from harness.runs.result import COST_FIELDS, Cost, Result

UNRECORDED = "recorded before this was kept"

# Field of Cost -> its column and how a value is written.
COST_COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "fit_cpu_seconds": ("fit CPU", duration),
    "fit_device_seconds": ("fit device", duration),
    "score_cpu_seconds": ("score CPU", duration),
    "score_device_seconds": ("score device", duration),
    "peak_memory_mb": ("memory", lambda value: f"{value:,.0f} MB"),
    "params_millions": ("parameters", lambda value: f"{value:.3g} M"),
    "gflops_per_image": ("GFLOPs/image", lambda value: f"{value:.3g}"),
    "model_bytes": ("model", size),
}


def mean_cost(results: Sequence[Result]) -> tuple[Cost, dict[str, str]]:
    """Return the mean of each figure over the runs of several seeds, and why some are missing.

    A figure that one of the runs lacks is None.
    """
    means: dict[str, float | None] = {}
    missing_reasons: dict[str, str] = {}
    for name in COST_FIELDS:
        values = [getattr(result.cost, name) for result in results]
        means[name] = None if None in values else sum(values) / len(values)
        if None in values:
            reasons = results[values.index(None)].missing_reasons
            missing_reasons[name] = reasons.get(name, UNRECORDED)
    return Cost(**means), missing_reasons  # type: ignore[arg-type]


def frontier(points: Sequence[tuple[float, float]]) -> tuple[bool, ...]:
    """Return whether each (error, cost) is on the Pareto frontier.

    A point is, unless another one is at least as good in both and better in one; of equal points
    all are or none is.
    """
    return tuple(
        not any(e <= error and c <= cost and (e, c) != (error, cost) for e, c in points)
        for error, cost in points
    )


def cost_table(rows: Sequence[Row]) -> Table:
    """Return the cost of each row; figures that no row has are left out."""
    names = [
        name for name in COST_COLUMNS if any(getattr(row.cost, name) is not None for row in rows)
    ]
    head = ["pipeline", "fit", *(COST_COLUMNS[name][0] for name in names)]
    cells = [
        [
            row.label,
            duration(row.cost.fit_seconds),
            *(_cost_cell(row.cost, name) for name in names),
            "yes" if row.on_frontier else "-",
        ]
        for row in rows
    ]
    return Table([*head, Column("frontier", "left")], cells, caption="cost")


def _cost_cell(cost: Cost, name: str) -> str:
    value = getattr(cost, name)
    return "-" if value is None else COST_COLUMNS[name][1](value)


def cost_notes(rows: Sequence[Row]) -> list[str]:
    """Return what the figures mean, and why some are missing."""
    by_reason: dict[str, dict[str, list[str]]] = {}  # reason -> row -> columns
    for row in rows:
        for name, reason in row.missing_reasons.items():
            if name in COST_COLUMNS:
                columns = by_reason.setdefault(reason, {}).setdefault(row.label, [])
                columns.append(COST_COLUMNS[name][0])
    return [
        "cost: fit includes tuning on the tune split, and counts what a cache saved as if it had "
        "been spent; CPU is the time of all threads and processes; frontier: no other row is both "
        "as accurate and as cheap to fit, and better in one of the two, judged by these figures "
        "and not by their intervals",
        *(
            f"missing from the cost ({reason}): {_join_equal(by_row)}"
            for reason, by_row in by_reason.items()
        ),
    ]


def _join_equal(by_row: dict[str, list[str]]) -> str:
    """Return `fit CPU, model of hog-svm and alexnet`: rows that lack the same figures together."""
    together: dict[str, list[str]] = {}
    for label, columns in by_row.items():
        together.setdefault(", ".join(columns), []).append(label)
    return "; ".join(f"{columns} of {', '.join(rows)}" for columns, rows in together.items())
