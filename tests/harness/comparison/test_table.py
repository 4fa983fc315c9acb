"""The printed comparison: short by default, complete with details, and never too wide."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.comparison.compare import compare_records
from harness.comparison.table import (
    BRIEF_LINES,
    ONE_VIEW,
    Comparison,
    comparison_html,
    comparison_markdown,
    comparison_text,
    main_table,
)
from harness.runs.record import Record

MakeRecord = Callable[..., Record]
LONG = ("sift-fisher,words=256,flip=true", "kmeans-triangle,k=1600,flip=true,views=10")


@pytest.fixture
def pair(make_record: MakeRecord) -> Comparison:
    b = make_record("b", 20, notes=("means <of> pixels | gray",))
    return compare_records([[make_record("a", 50)], [b]])


@pytest.fixture
def four(make_record: MakeRecord) -> Comparison:
    groups = [
        [make_record("baseline", 50, notes=("recipe: short",))],
        [make_record("alexnet", 20), make_record("alexnet", 24, seed=1)],
        [make_record(LONG[0], 49, label=LONG[0])],
        [make_record(LONG[1], 44, label=LONG[1], limit=200)],
    ]
    return compare_records(groups)


def test_the_verdict_comes_first_and_notes_are_few(four: Comparison) -> None:
    verdict, table, notes = comparison_text(four, width=10_000).split("\n\n")
    assert verdict.startswith("Against baseline (50.00 % top-1 error on 100 test images)")
    assert table.splitlines()[0].startswith("pipeline")
    assert len(notes.splitlines()) <= BRIEF_LINES
    assert notes.startswith("digits: 100 test images; delta: points against baseline")
    assert "harness compare --details" in notes
    assert four.rows[0].run_ids[0] not in notes


@pytest.mark.parametrize("details", [False, True])
@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_line_is_longer_than_the_terminal(four: Comparison, width: int, details: bool) -> None:
    text = comparison_text(four, details=details, width=width)
    assert max(map(len, text.splitlines())) <= width
    if not details:
        assert len(text.split("\n\n")[-1].splitlines()) <= BRIEF_LINES


def test_what_matters_most_stays_on_a_narrow_terminal(pair: Comparison) -> None:
    narrow = main_table(pair).to_text(80)
    assert narrow.splitlines()[0].split("  ")[0] == "pipeline"
    for head in ("top-1 error", "delta top-1", "McNemar p", "fit"):
        assert head in narrow.splitlines()[0]
    assert "hidden at this width: " in narrow
    assert "augmentation" in narrow.split("hidden at this width: ")[1]
    assert "hidden" not in main_table(pair).to_text(200)


def test_details_add_exact_intervals_costs_and_runs(four: Comparison) -> None:
    text = " ".join(comparison_text(four, details=True, width=200).split())
    assert all(verdict in text for verdict in four.verdicts)
    assert f"test digest {four.test_digest}" in text
    assert "exact 95 % intervals (Clopper-Pearson): baseline [" in text
    assert "pipeline fit memory frontier" in text
    run_ids = [run_id for row in four.rows for run_id in row.run_ids]
    assert all(f"{run_id}: " in text for run_id in run_ids)
    assert "alexnet, 2 seeds: standard deviation 2.83" in text
    assert "times on x, 2 cores" in text


def test_holm_has_a_column_where_several_rows_are_tested(
    four: Comparison, pair: Comparison
) -> None:
    assert "Holm p" in main_table(four).heads
    assert "McNemar p" not in main_table(four).to_text(100).splitlines()[0]
    assert "Holm p" not in main_table(pair).heads


def test_markdown_and_html_escape_the_notes_of_a_row(pair: Comparison) -> None:
    text, page = comparison_markdown(pair), comparison_html(pair)
    assert text.startswith(f"**{pair.verdicts[0]}**")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert "means &lt;of> pixels \\| gray" in lines[3]
    assert len({line.replace("\\|", "").count("|") for line in lines[:4]}) == 1
    assert page.count("<table>") == 2
    assert "means &lt;of&gt; pixels | gray" in page


def test_a_comparison_is_plain_data_for_json_and_frames(pair: Comparison) -> None:
    data = json.loads(json.dumps(pair.to_dict()))
    assert data["one_view"] is None
    assert data["rows"][1]["top1_delta"] == -30.0
    assert data["rows"][1]["peak_memory_mb"] == 812.3
    frame = pair.to_frame()
    assert list(frame["label"]) == ["a", "b"]
    assert "missing_reasons" not in frame
    assert str(pair) == comparison_text(pair)
    assert pair._repr_html_() == comparison_html(pair)


def test_the_pair_at_one_view_is_a_note_and_with_details_a_table(make_record: MakeRecord) -> None:
    a, b = make_record("a", 30), make_record("b,views=10", 20, views=10)
    make_record("b,views=1", 25), make_record("b,views=1", 26, seed=1)
    comparison = compare_records([[a], [b]])
    assert comparison.one_view
    brief = comparison_text(comparison, width=200)
    assert f"{ONE_VIEW}: a 30.00 %; b 25.50 %, delta -4.50, p " in brief
    details = " ".join(comparison_text(comparison, details=True, width=200).split())
    best, single = details.split(f"{ONE_VIEW} pipeline", 1)
    assert "-10.00" in best
    assert "-4.50" in single
    assert f"{ONE_VIEW}: several seeds: errors and deltas are means" in single
    assert comparison_html(comparison).count("<table>") == 3
    assert comparison.to_dict()["one_view"]["rows"][1]["top1_delta"] == pytest.approx(-4.5)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_warning_is_lost_without_a_word(four: Comparison, width: int) -> None:
    warnings = (
        "b was fitted on different images from a (digests aaaaaaaa and bbbbbbbb)",
        *(f"warning {i}, which takes a line or two on most terminals" for i in range(12)),
    )
    text = comparison_text(replace(four, warnings=warnings), width=width)
    words = " ".join(text.split())
    shown = sum(warning in words for warning in warnings)
    assert warnings[0] in words
    assert f"{len(warnings) - shown} more warnings" in words
