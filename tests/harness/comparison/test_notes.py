"""The notes below a comparison say what its columns have no room for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.comparison import notes
from harness.comparison.rows import Delta, MeanClassDelta, Row
from harness.runs.result import Interval


@pytest.fixture
def rows(make_row: Callable[..., Row]) -> list[Row]:
    delta = Delta(-2.5, Interval(-4.0, -1.0), 0.002, 0.002, 1.2, 0.31, 0.72)
    by_class = MeanClassDelta(-3.0, Interval(-5.0, -2.0), Interval(-6.0, 0.0))
    several = {"seeds": (0, 1), "run_ids": ("b-1", "b-2"), "source_hashes": ("x", "y")}
    finished = ("2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00")
    b = make_row(label="b", delta=delta, mean_class_delta=by_class, seed_sd=0.4)
    return [make_row(label="a"), replace(b, **several, finished=finished)]


def test_holm_is_explained_where_several_rows_are_tested(rows: list[Row]) -> None:
    meanings = notes.column_notes(rows)
    assert [meaning.split(":")[0] for meaning in meanings] == ["min. detectable", "views x models"]
    holm = "Holm p: McNemar p adjusted for 2 pipelines tested against a"
    assert notes.column_notes([*rows, rows[1]]) == [holm, *meanings]


def test_exact_intervals_of_all_rows_are_one_note(rows: list[Row]) -> None:
    [exact] = notes.exact_notes(rows)
    assert exact.endswith("(Clopper-Pearson): a [38.90, 41.10], b [38.90, 41.10]")


def test_deltas_by_class_have_two_intervals(rows: list[Row]) -> None:
    assert notes.class_notes(rows) == [
        "b against a, mean per-class error: -3.00, 95 % interval [-5.00, -2.00] for other images "
        "of these classes, [-6.00, 0.00] for other classes"
    ]


def test_seeds_and_test_images_are_told_apart(rows: list[Row]) -> None:
    spread, delta = notes.seed_notes(rows)
    assert spread == (
        "b, 2 seeds: standard deviation 0.40 over trainings on these images, standard error 0.50 "
        "over test images"
    )
    assert "standard error of the delta 0.31 from seeds, 0.72 from test images" in delta
    assert notes.seed_notes(rows[:1]) == []


def test_every_run_has_a_line(rows: list[Row]) -> None:
    first, second, third = notes.run_notes(rows)
    assert first.startswith("hog-svm-1: hog-svm,c=none, seed 0, source 0, ")
    assert second.startswith("b-1: hog-svm,c=none, seed 0, source x, ")
    assert third.startswith("b-2: hog-svm,c=none, seed 1, source y, ")
    assert third.endswith(" old, test evaluations 1")
