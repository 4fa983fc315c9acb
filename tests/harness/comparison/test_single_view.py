"""The pair at one view and one model each, beside the pair as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.comparison.compare import compare_records
from harness.comparison.table import ONE_VIEW, comparison_markdown
from harness.runs.record import Record
from harness.runs.result import Result, Scores
from harness.runs.run_store import RunStore

MACHINE = {"cpu": "x", "cores": 2, "memory_gb": 24.0, "device": "cpu"}


@pytest.fixture
def recorded(make_result: Callable[..., Result]) -> Callable[..., Record]:
    """A run of 100 images, of which the first `wrong` are wrong; an ensemble where members are given."""

    def make(
        pipeline: str,
        wrong: int,
        *,
        views: int | None = 1,
        seed: int = 0,
        members: tuple[Record, ...] = (),
        weights_of: Record | None = None,
        **fields,
    ) -> Record:
        name = pipeline.partition(",")[0]
        spec = {"members": [m.run_id for m in members], "models": len(members)} if members else {}
        if weights_of:
            spec.weights_of = weights_of.run_id
        record = RunStore(Path("runs")).create(name, spec)
        values = np.zeros((100, 6), dtype=np.float32)
        values[np.arange(100), (np.arange(100) < wrong).astype(int)] = 1
        record.save_scores(
            Scores(np.array([f"{i:03}" for i in range(100)]), np.zeros(100, dtype=np.int64), values)
        )
        facts = {
            "run_id": record.run_id,
            "pipeline": pipeline,
            "name": name,
            "seed": seed,
            "views": views,
            "machine": MACHINE,
            "notes": (),
        }
        record.finish(make_result(**{**facts, **fields}))
        return record

    return make


def test_runs_of_one_view_need_no_second_table(recorded) -> None:
    table = compare_records([[recorded("a,views=1", 30)], [recorded("b", 20)]])
    assert table.one_view is None
    assert ONE_VIEW not in str(table)


def test_the_pair_at_one_view_stands_below_the_pair_at_its_best(recorded) -> None:
    a = recorded("a,views=1", 30)
    single = [recorded("b,c=1,views=1", 25, seed=seed) for seed in (0, 1)]
    recorded("b,c=2,views=1", 1)  # another spec
    recorded("b,c=1,views=1", 1, seed=2, train_digest="e" * 32)  # other training images
    recorded("b,c=1,views=1", 1, seed=2, test_digest="e" * 32)  # other test images
    table = compare_records([[a], [recorded("b,c=1,views=10", 20, views=10)]])
    assert table.rows[1].top1_delta == pytest.approx(-10)
    assert table.one_view is not None
    assert table.one_view.one_view is None
    assert [row.run_ids for row in table.one_view.rows] == [
        (a.run_id,),
        tuple(record.run_id for record in single),
    ]
    assert table.one_view.rows[1].top1_delta == pytest.approx(-5)
    text = str(table)
    best, plain = text.split(ONE_VIEW, 1)
    assert [word for word in ("20.00 %", "25.00 %", "-10.00") if word in best] == [
        "20.00 %",
        "-10.00",
    ]
    assert all(word in plain for word in ("25.00 %", "-5.00"))
    assert all(
        f"{record.run_id}: b,c=1,views=1, seed" in " ".join(text.split()) for record in single
    )
    assert text.count(f"{a.run_id}:") == 1
    assert f"{ONE_VIEW}:" in comparison_markdown(table)
    assert (
        table._repr_html_().count("<table>") == 3
    )  # the pair at its best, its cost, the pair at one view


def test_runs_of_another_source_do_not_stand_for_a_run_and_its_own_weights_come_first(
    recorded,
) -> None:
    a, b = recorded("a,views=1", 30), recorded("b,views=10", 20, views=10)
    single = recorded("b,views=1", 25, weights_of=b)
    recorded("b,views=1", 24)  # trained anew, and later
    recorded("b,views=1", 23, seed=1, source_hash="other")
    table = compare_records([[a], [b]])
    assert table.one_view is not None
    assert [row.run_ids for row in table.one_view.rows] == [(a.run_id,), (single.run_id,)]


def test_weights_scored_again_at_one_view_stand_for_their_run(recorded) -> None:
    a, b = recorded("a,views=1", 30), recorded("b,views=10", 20, views=10)
    single = recorded(
        "b,views=1,new=none", 25, weights_of=b
    )  # of a state of the source that has one parameter more
    recorded("b,views=1,new=none", 26, weights_of=a)
    table = compare_records([[a], [b]])
    assert table.one_view is not None
    assert [row.run_ids for row in table.one_view.rows] == [(a.run_id,), (single.run_id,)]


def test_an_ensemble_is_held_to_its_first_member(recorded) -> None:
    a, b, c = recorded("a,views=1", 30), recorded("b,views=1", 25), recorded("c,views=1", 26)
    table = compare_records([[a], [recorded("ensemble", 20, members=(b, c))]])
    assert table.one_view is not None
    assert [row.run_ids for row in table.one_view.rows] == [(a.run_id,), (b.run_id,)]


def test_what_is_missing_is_told(recorded) -> None:
    a = recorded("a,views=1", 30, dataset="pets")
    b = [recorded("b,c=1,views=10", 20, views=10, dataset="pets", seed=seed) for seed in (0, 1)]
    table = compare_records([[a], b])
    assert table.one_view is None
    ids = " ".join(record.run_id for record in b)
    assert (
        f"at one view and one model each: no run of b is so; make one with: harness rescore {ids}"
        in table.warnings
    )
    fixed = compare_records([[a], [recorded("b", 20, views=4, dataset="pets")]])
    assert "at one view and one model each: b has no parameter views" in fixed.warnings
    gone = recorded("ensemble", 20, members=(recorded("c,views=1", 25),))
    RunStore(Path("runs")).find(gone.spec.members[0]).folder.rename("elsewhere")
    lost = compare_records([[a], [Record(gone.folder)]])
    assert (
        f"at one view and one model each: the members of {gone.run_id} are not on record"
        in lost.warnings
    )


def test_a_run_with_another_tune_split_does_not_stand_for_one(recorded) -> None:
    a, b = recorded("a,views=1", 30), recorded("b,views=10", 20, views=10)
    single = recorded("b,views=1", 25)
    recorded("b,views=1", 45, seed=1, tune=5)
    table = compare_records([[a], [b]])
    assert table.one_view is not None
    assert [row.run_ids for row in table.one_view.rows] == [(a.run_id,), (single.run_id,)]


def test_runs_that_are_the_same_at_one_view_are_not_held_against_each_other(recorded) -> None:
    best, plain = recorded("b,views=10", 20, views=10), recorded("b,views=1", 25)
    assert compare_records([[best], [plain]]).one_view is None
    other = recorded("a,views=1", 30)
    table = compare_records([[other], [best], [plain]])
    assert table.one_view is not None
    assert [row.run_ids for row in table.one_view.rows] == [(other.run_id,), (plain.run_id,)]


def test_what_is_to_be_known_of_the_pair_at_one_view_stands_below(recorded) -> None:
    a, b = recorded("a,views=1", 30), recorded("b,views=10", 20, views=10)
    recorded("b,views=1", 25), recorded("b,views=1", 26, seed=1)
    assert f"{ONE_VIEW}: several seeds: means" in " ".join(str(compare_records([[a], [b]])).split())


def test_notes_of_all_seeds_stand_beside_a_row_and_a_limit_below_the_table(recorded) -> None:
    seeds = [
        recorded("a", 30, seed=0, notes=("stalled start",), limit=200),
        recorded("a", 20, seed=1, notes=("fine",), limit=200),
    ]
    table = compare_records(
        [seeds, [recorded("b", 20, limit=200, notes=("means <of> pixels | gray",))]]
    )
    assert table.rows[0].notes == ("stalled start", "fine")
    assert any(
        caveat.startswith("limited to ") and "labeled images" in caveat for caveat in table.warnings
    )
    cells = [line for line in comparison_markdown(table).splitlines() if line.startswith("| ")]
    assert "means &lt;of> pixels \\| gray" in cells[3]
    assert len({line.replace("\\|", "").count("|") for line in cells[:4]}) == 1
