"""The notes below a comparison: what columns have no room for, and which runs stand behind it."""

from __future__ import annotations

from collections.abc import Sequence

from harness.comparison.rows import Row
from harness.render.text import age, interval
from harness.runs.result import Interval


def column_notes(rows: Sequence[Row]) -> list[str]:
    """Return what the columns of the main table mean, except the delta."""
    notes = [
        "min. detectable: the smallest delta that would be significant at 5 %, given how often the "
        "two disagree",
        "views x models: averaged at test time; augmentation: of the training images; "
        "?: not on record",
    ]
    if len(rows) > 2:
        tests = f"{len(rows) - 1} pipelines tested against {rows[0].label}"
        notes.insert(0, f"Holm p: McNemar p adjusted for {tests}")
    return notes


def exact_notes(rows: Sequence[Row]) -> list[str]:
    """Return the exact intervals of all rows."""
    exact = ", ".join(f"{row.label} {_brackets(row.exact_interval)}" for row in rows)
    return [f"exact 95 % intervals (Clopper-Pearson): {exact}"]


def class_notes(rows: Sequence[Row]) -> list[str]:
    """Return the difference of the mean per-class errors of each row and the reference."""
    notes = []
    for row in rows:
        if delta := row.mean_class_delta:
            notes.append(
                f"{row.label} against {rows[0].label}, mean per-class error: {delta.points:+.2f}, "
                f"95 % interval {_brackets(delta.over_images)} for other images of these classes, "
                f"{_brackets(delta.over_classes)} for other classes"
            )
    return notes


def seed_notes(rows: Sequence[Row]) -> list[str]:
    """Return how much of the variation comes from seeds and how much from test images."""
    notes = []
    for row in rows:
        if row.seed_sd is not None:
            notes.append(
                f"{row.label}, {len(row.seeds)} seeds: standard deviation {row.seed_sd:.2f} over "
                f"trainings on these images, standard error {row.image_se:.2f} over test images"
            )
        if row.delta and row.delta.seed_se is not None:
            notes.append(
                f"{row.label} against {rows[0].label}: standard error of the delta "
                f"{row.delta.seed_se:.2f} from seeds, {row.delta.image_se:.2f} from test images; "
                "the intervals cover test images alone"
            )
    return notes


def run_notes(rows: Sequence[Row]) -> list[str]:
    """Return one line per run: its pipeline, seed, source and age."""
    return [
        f"{run_id}: {row.pipeline}, seed {seed}, source {source}, {age(finished)} old, "
        f"test evaluations {row.test_evaluations}"
        for row in rows
        for run_id, seed, source, finished in zip(
            row.run_ids, row.seeds, row.source_hashes, row.finished, strict=True
        )
    ]


def _brackets(ends: Interval) -> str:
    return interval(ends.low, ends.high)
