"""The comparison at one view and one model each, in addition to the comparison as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.comparison.compare import compare_records
from harness.comparison.table import ONE_VIEW, Comparison
from harness.runs.record import Record
from harness.runs.run_store import RunStore

MakeRecord = Callable[..., Record]


def rescored(run: Record) -> dict[str, Any]:
    """Return the spec fields of a run that uses the weights of another."""
    return {"kind": "rescore", "weights_of": run.run_id}


def ensemble(*members: Record) -> dict[str, Any]:
    """Return the spec fields of a run that averages these runs."""
    run_ids = tuple(member.run_id for member in members)
    return {"kind": "ensemble", "members": run_ids, "models": len(members)}


def run_ids_at_one_view(comparison: Comparison) -> list[tuple[str, ...]]:
    assert comparison.one_view
    return [row.run_ids for row in comparison.one_view.rows]


def test_runs_of_one_view_need_no_second_table(make_record: MakeRecord) -> None:
    comparison = compare_records([[make_record("a,views=1", 30)], [make_record("b", 20)]])
    assert comparison.one_view is None
    assert ONE_VIEW not in str(comparison)


def test_runs_of_the_same_spec_at_one_view_replace_a_run(make_record: MakeRecord) -> None:
    a = make_record("a,views=1", 30)
    single = [make_record("b,c=1,views=1", 25, seed=seed) for seed in (0, 1)]
    make_record("b,c=2,views=1", 1)  # another spec
    make_record("b,c=1,views=1", 1, seed=2, train_digest="e" * 32)  # other training images
    make_record("b,c=1,views=1", 1, seed=2, test_digest="e" * 32)  # other test images
    comparison = compare_records([[a], [make_record("b,c=1,views=10", 20, views=10)]])
    best = comparison.rows[1].delta
    assert best
    assert best.points == pytest.approx(-10)
    assert run_ids_at_one_view(comparison) == [
        (a.run_id,),
        tuple(record.run_id for record in single),
    ]
    assert comparison.one_view
    assert comparison.one_view.one_view is None
    plain = comparison.one_view.rows[1].delta
    assert plain
    assert plain.points == pytest.approx(-5)


def test_the_weights_of_the_run_itself_come_before_other_runs(make_record: MakeRecord) -> None:
    a, b = make_record("a,views=1", 30), make_record("b,views=10", 20, views=10)
    single = make_record("b,views=1", 25, spec=rescored(b))
    make_record("b,views=1", 24)  # trained anew, and later
    make_record("b,views=1", 23, seed=1, source_hash="other")
    assert run_ids_at_one_view(compare_records([[a], [b]])) == [(a.run_id,), (single.run_id,)]


def test_rescored_weights_count_although_the_source_has_changed(make_record: MakeRecord) -> None:
    a, b = make_record("a,views=1", 30), make_record("b,views=10", 20, views=10)
    single = make_record("b,views=1,new=none", 25, spec=rescored(b))  # one more parameter
    make_record("b,views=1,new=none", 26, spec=rescored(a))
    assert run_ids_at_one_view(compare_records([[a], [b]])) == [(a.run_id,), (single.run_id,)]


def test_an_ensemble_is_replaced_by_its_first_member(make_record: MakeRecord) -> None:
    a, b, c = (
        make_record(f"{name},views=1", wrong)
        for name, wrong in zip("abc", (30, 25, 26), strict=True)
    )
    both = make_record("ensemble", 20, spec=ensemble(b, c))
    assert run_ids_at_one_view(compare_records([[a], [both]])) == [(a.run_id,), (b.run_id,)]


def test_a_missing_run_is_named_with_the_command_that_makes_it(make_record: MakeRecord) -> None:
    a = make_record("a,views=1", 30, dataset="pets")
    b = [make_record("b,c=1,views=10", 20, views=10, dataset="pets", seed=seed) for seed in (0, 1)]
    comparison = compare_records([[a], b])
    assert comparison.one_view is None
    command = f"harness rescore {b[0].run_id} {b[1].run_id}"
    assert f"{ONE_VIEW}: b has no such run; make one with: {command}" in comparison.warnings
    fixed = compare_records([[a], [make_record("b", 20, views=4, dataset="pets")]])
    assert f"{ONE_VIEW}: b has no parameter views" in fixed.warnings


def test_an_ensemble_whose_members_are_gone_is_named(make_record: MakeRecord) -> None:
    a = make_record("a,views=1", 30)
    both = make_record("ensemble", 20, spec=ensemble(make_record("c,views=1", 25)))
    RunStore(Path("runs")).find(both.spec.members[0]).folder.rename("elsewhere")
    lost = compare_records([[a], [Record(both.folder)]])
    assert f"{ONE_VIEW}: the members of {both.run_id} are not on record" in lost.warnings


def test_a_run_with_another_tune_split_does_not_replace_one(make_record: MakeRecord) -> None:
    a, b = make_record("a,views=1", 30), make_record("b,views=10", 20, views=10)
    single = make_record("b,views=1", 25)
    make_record("b,views=1", 45, seed=1, tune=5)
    assert run_ids_at_one_view(compare_records([[a], [b]])) == [(a.run_id,), (single.run_id,)]


def test_rows_that_are_equal_at_one_view_are_not_compared(make_record: MakeRecord) -> None:
    best, plain = make_record("b,views=10", 20, views=10), make_record("b,views=1", 25)
    assert compare_records([[best], [plain]]).one_view is None
    a = make_record("a,views=1", 30)
    comparison = compare_records([[a], [best], [plain]])
    assert run_ids_at_one_view(comparison) == [(a.run_id,), (plain.run_id,)]
