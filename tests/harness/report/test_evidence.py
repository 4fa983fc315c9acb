"""What a report gathers, and why some of it may be missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.comparison.compare import compare_records
from harness.report.evidence import OMITTED, Evidence, ReportOptions, gather
from harness.runs.record import Record
from harness.workspace import Workspace

Groups = Callable[..., list[list[Record]]]


def test_the_comparison_is_that_of_compare(pair: tuple[Evidence, str], groups: Groups) -> None:
    evidence = pair[0]
    assert evidence.comparison.rows == compare_records(groups("few", "ridge")).rows
    assert [len(run.labels) for run in evidence.predictions] == [500, 500]
    assert evidence.labels == ["nearest-mean,step=7", "ridge"]


def test_neighbors_are_found_where_a_pipeline_embeds(pair: tuple[Evidence, str]) -> None:
    near, none = pair[0].neighbors
    assert none == "no last hidden layer to look at (the pipeline has no method embed)"
    assert not isinstance(near, str)
    assert (near.nearest.shape, near.searched) == ((6, 6), 200)


def test_a_dataset_that_is_gone_leaves_out_the_pictures(
    workspace: Workspace, groups: Groups, copy_record: Callable[..., Record]
) -> None:
    gone = {"dataset": "folder,path=/gone"}
    copies = [[copy_record(record, spec=gone)] for [record] in groups("few", "ridge")]
    evidence = gather(workspace, copies)
    assert evidence.no_pictures.startswith("the dataset folder,path=/gone cannot be opened")
    assert evidence.neighbors == [evidence.no_pictures] * 2
    left_out = gather(workspace, groups("few", "ridge"), ReportOptions(pictures=False))
    assert left_out.no_pictures == OMITTED


def test_images_that_were_moved_are_shown_from_where_they_are(
    workspace: Workspace, groups: Groups, copy_record: Callable[..., Record]
) -> None:
    gone = {"dataset": "folder,path=/gone"}
    copies = [[copy_record(record, spec=gone)] for [record] in groups("few", "ridge")]
    moved = gather(workspace, copies, ReportOptions(neighbors=0, dataset="digits"))
    assert (moved.no_pictures, moved.test is None) == ("", False)
    mixed = gather(workspace, [*copies, *groups("all")], ReportOptions(neighbors=0))
    assert (mixed.no_pictures, mixed.test is None) == ("", False)


def test_a_dataset_that_was_an_object_leaves_out_the_pictures(
    workspace: Workspace, groups: Groups, copy_record: Callable[..., Record]
) -> None:
    spec = {"dataset_from_object": True}
    copies = [[copy_record(record, spec=spec)] for [record] in groups("few", "ridge")]
    assert "were given by a program" in gather(workspace, copies).no_pictures


def test_a_dataset_that_has_changed_leaves_out_the_pictures(
    workspace: Workspace, groups: Groups, copy_record: Callable[..., Record]
) -> None:
    changed = {"preparation": "another"}
    copies = [[copy_record(record, spec=changed)] for [record] in groups("few", "ridge")]
    assert "has changed: its test digest is" in gather(workspace, copies).no_pictures


def test_a_pipeline_that_cannot_be_loaded_leaves_out_its_neighbors_only(
    workspace: Workspace, groups: Groups, copy_record: Callable[..., Record]
) -> None:
    copies = [[copy_record(record)] for [record] in groups("few", "ridge")]
    copies[0][0].state_file.write_bytes(b"torn")
    evidence = gather(workspace, copies)
    assert str(evidence.neighbors[0]).startswith("its state cannot be loaded: ")
    assert evidence.test is not None


def test_a_row_with_other_training_images_has_no_neighbors(
    workspace: Workspace, groups: Groups, copy_record: Callable[..., Record]
) -> None:
    [ridge], [few] = groups("ridge", "few")
    other: dict[str, Any] = {"train_digest": "e" * 32}
    options = ReportOptions(allow_different_train=True, neighbors=50)
    evidence = gather(workspace, [[ridge], [copy_record(few, spec=other)]], options)
    assert evidence.neighbors[1] == "it was fitted on other images than the first row"


def test_one_run_per_row_is_shown_of_a_seed_that_all_rows_have(
    workspace: Workspace, groups: Groups, copy_record: Callable[..., Record]
) -> None:
    [few], [ridge] = groups("few", "ridge")
    again = copy_record(ridge, name="ridge-again", spec={"seed": 1})
    evidence = gather(workspace, [[few], [again, ridge]], ReportOptions(pictures=False))
    assert [run.run_id for run in evidence.runs] == [few.run_id, ridge.run_id]
