"""The small table of what each row of a comparison cost: tuning included, and which rows are worth it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.comparison.compare import Row
from harness.comparison.cost import FIGURES
from harness.progress import duration
from harness.report.text import size

# A figure of Cost -> its column and how a value is written.
COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "fit_cpu_seconds": ("fit CPU", duration),
    "fit_device_seconds": ("fit device", duration),
    "score_cpu_seconds": ("score CPU", duration),
    "score_device_seconds": ("score device", duration),
    "peak_memory_mb": ("memory", lambda value: f"{value:,.0f} MB"),
    "params_millions": ("parameters", lambda value: f"{value:.3g} M"),
    "gflops_per_image": ("GFLOPs an image", lambda value: f"{value:.3g}"),
    "model_bytes": ("model", size),
}


def cost_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """(column names, cells by row), a figure that no row has left out."""
    chosen = [name for name in COLUMNS if any(getattr(row.cost, name) is not None for row in rows)]
    head = ["cost", "fit", *(COLUMNS[name][0] for name in chosen), "frontier"]
    return head, [
        [
            row.label,
            duration(row.fit_seconds),
            *_cells(row, chosen),
            "yes" if row.on_frontier else "-",
        ]
        for row in rows
    ]


def _cells(row: Row, chosen: Sequence[str]) -> list[str]:
    values = [(getattr(row.cost, name), COLUMNS[name][1]) for name in chosen]
    return ["-" if value is None else written(value) for value, written in values]


def cost_notes(rows: Sequence[Row]) -> list[str]:
    """How the figures are meant, and why some are not there."""
    missing: dict[str, dict[str, list[str]]] = {}  # reason -> row -> columns
    for row in rows:
        for name, reason in row.cost.absent.items():
            missing.setdefault(reason, {}).setdefault(row.label, []).append(COLUMNS[name][0])
    return [
        "cost: fit includes tuning on the tune split, and what a cache spared as if spent; CPU is of all threads and processes; frontier: no "
        "other row is both as accurate and as cheap to fit, and better in one of the two, going by these figures and not by their intervals",
        *(f"not in the cost, {reason}: {_grouped(by_row)}" for reason, by_row in missing.items()),
    ]


def _grouped(by_row: dict[str, list[str]]) -> str:
    """`fit CPU, model of hog-svm and alexnet`: rows that lack the same together."""
    together: dict[str, list[str]] = {}
    for row, names in by_row.items():
        together.setdefault(", ".join(names), []).append(row)
    return "; ".join(f"{names} of {', '.join(rows)}" for names, rows in together.items())


assert set(COLUMNS) == set(FIGURES)
