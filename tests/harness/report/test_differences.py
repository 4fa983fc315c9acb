"""The sections of a report that look behind the table."""

from __future__ import annotations

import re
from collections.abc import Callable

from harness.comparison.disagreement import class_deltas, confusions, contingency
from harness.report.differences import PAIRS, differences
from harness.report.evidence import Evidence, ReportOptions, gather
from harness.runs.record import Record
from harness.workspace import Workspace

Groups = Callable[..., list[list[Record]]]


def sections(evidence: Evidence) -> dict[str, str]:
    return {name: str(content) for name, _, content in differences(evidence)}


def test_the_paired_table_counts_every_image_once(pair: tuple[Evidence, str]) -> None:
    evidence = pair[0]
    cells = contingency(*evidence.predictions)
    counts = [len(cells.both), len(cells.only_a), len(cells.only_b), len(cells.neither)]
    assert sum(counts) == 500
    paired = sections(evidence)["images"].partition("<table")[2].partition("</table>")[0]
    assert [int(n) for n in re.findall(r"<b>([\d,]+)</b>", paired)] == counts


def test_every_class_has_its_delta(pair: tuple[Evidence, str]) -> None:
    evidence = pair[0]
    content = sections(evidence)["classes"]
    deltas = class_deltas(*evidence.predictions)
    assert content.count("<th scope=row>") == len(deltas) == 10
    for delta in deltas:
        assert f"<td class=n>[{delta.interval.low:.1f}, {delta.interval.high:.1f}]</td>" in content


def test_the_most_frequent_confusions_of_each_row_are_listed(pair: tuple[Evidence, str]) -> None:
    evidence = pair[0]
    content = sections(evidence)["confusions"]
    for run in evidence.predictions:
        first = confusions(run)[0]
        assert f"{first.label} → {first.predicted}</th>" in content
        assert f"{first.count} of {first.n}" in content
    assert content.count("<th scope=row>") <= 2 * PAIRS


def test_several_rows_are_each_compared_with_the_first(
    workspace: Workspace, groups: Groups
) -> None:
    options = ReportOptions(neighbors=0)
    content = sections(gather(workspace, groups("all", "few", "ridge"), options))["images"]
    assert content.count("Test images by who is right") == 2
    for label in ("nearest-mean,step=7", "ridge"):
        assert f"<h3>{label} against nearest-mean</h3>" in content


def test_missing_neighbors_and_pictures_are_explained(
    pair: tuple[Evidence, str], workspace: Workspace, groups: Groups
) -> None:
    content = sections(pair[0])["neighbors"]
    assert "200 of 1,167 training images" in content
    assert f"Not shown for ridge: {pair[0].neighbors[1]}." in content
    bare = sections(gather(workspace, groups("few", "ridge"), ReportOptions(pictures=False)))
    for name in ("images", "mistakes"):
        assert "Without pictures: omitted on request." in bare[name]


def test_the_run_that_is_shown_is_named_where_a_row_has_several_seeds(
    workspace: Workspace, groups: Groups, copy_record: Callable[..., Record]
) -> None:
    [few], [ridge] = groups("few", "ridge")
    again = copy_record(ridge, name="ridge-again", spec={"seed": 1})
    evidence = gather(workspace, [[few], [again, ridge]], ReportOptions(pictures=False))
    runs = f"{few.run_id} (seed 0), {ridge.run_id} (seed 0)"
    assert f"The sections below show one run per row: {runs}." in sections(evidence)["images"]
