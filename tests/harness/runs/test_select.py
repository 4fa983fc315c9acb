"""Which records the arguments of compare refer to, and what is said where there are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.errors import RecordWarning, UserError
from harness.runs.record import Record
from harness.runs.run_store import RunStore
from harness.runs.select import NoSuchRun, datasets_with_images_of, find_group, find_groups
from harness.workspace import Workspace

SPEC = "raw-linear,c=0.01"


@pytest.fixture
def workspace(workdir: Path, plugin: str) -> Workspace:
    return Workspace.open(plugins=[plugin])


@pytest.fixture
def finished(
    workspace: Workspace, workdir: Path, make_run: Callable[..., Any]
) -> Callable[..., Record]:
    """Write the record of a finished run of a pipeline spec on digits; later calls finish later."""
    count = iter(range(60))

    def make(pipeline: str = SPEC, **fields: Any) -> Record:
        number = next(count)
        name = pipeline.partition(",")[0]
        facts = {
            "run_id": f"{name}-{number}",
            "name": name,
            "pipeline": workspace.resolve("pipeline", pipeline).spec,
            "dataset": workspace.resolve("dataset", "digits").spec,
            "seed": 0,
            "finished": f"2026-01-01T10:{number:02}:00+00:00",
        }
        _, folder = make_run(workdir, **{**facts, **fields})
        return Record(folder)

    return make


def run_ids(workspace: Workspace, run: Any) -> list[str]:
    return [record.run_id for record in find_group(workspace, run)]


def test_a_spec_names_the_latest_run_of_each_seed(
    workspace: Workspace, finished: Callable[..., Record]
) -> None:
    finished()
    second, first = finished(seed=1), finished()
    assert run_ids(workspace, SPEC) == [first.run_id, second.run_id]
    groups = find_groups(workspace, [SPEC, first.run_id])
    assert [len(group) for group in groups] == [2, 1]


def test_run_ids_and_results_name_one_run(
    workspace: Workspace, finished: Callable[..., Record]
) -> None:
    one, _ = finished(), finished(seed=1)
    assert run_ids(workspace, one.run_id) == run_ids(workspace, one.result) == [one.run_id]
    one.folder.rename("elsewhere")
    with pytest.raises(UserError, match=f"the record of run {one.run_id} is not in"):
        find_group(workspace, one.result)


def test_limited_and_tuned_runs_do_not_stand_for_a_spec(
    workspace: Workspace, finished: Callable[..., Record]
) -> None:
    whole = finished()
    finished(limit=200), finished(limit_test=100)
    tuned = finished(top1_error=None)
    assert run_ids(workspace, SPEC) == [whole.run_id]
    with pytest.raises(UserError, match="stopped after tune"):
        find_group(workspace, tuned.run_id)


@pytest.mark.parametrize(
    "changed",
    [{"source_hash": "e" * 16}, {"tune": 0}, {"train_digest": "e" * 32}, {"test_digest": "e" * 32}],
)
def test_seeds_of_other_code_tuning_or_images_are_not_mixed(
    workspace: Workspace, finished: Callable[..., Record], changed: dict[str, Any]
) -> None:
    finished(seed=1, **changed)
    latest = finished()
    assert run_ids(workspace, SPEC) == [latest.run_id]


def test_a_run_that_predates_a_parameter_counts_as_its_default(
    finished: Callable[..., Record], plugin: str
) -> None:
    run = finished("nearest-mean")
    newer = Path("newer") / Path(plugin).name
    newer.parent.mkdir()
    source = Path(plugin).read_text()
    newer.write_text(source.replace("shrink: float = 0.0", "shrink: float = 0.0, later: int = 3"))
    workspace = Workspace.open(plugins=[str(newer)])
    assert run_ids(workspace, "nearest-mean") == [run.run_id]
    with pytest.raises(NoSuchRun):
        find_group(workspace, "nearest-mean,later=4")


def test_a_missing_run_is_reported_with_the_command_that_makes_it(
    finished: Callable[..., Record], plugin: str
) -> None:
    workspace = Workspace.open(data_root="x", plugins=[plugin])
    with pytest.raises(NoSuchRun, match=r"harness run --pipeline hog-svm,c=3 --data-root") as error:
        find_group(workspace, "hog-svm,c=3")
    assert error.value.spec == "hog-svm,c=3"
    assert f" --plugins {plugin}" in str(error.value)
    finished("hog-svm", dataset="pets", title="pets")
    with pytest.raises(NoSuchRun, match="there are runs of it on pets: give --dataset"):
        find_group(workspace, "hog-svm")


def test_fewer_than_two_arguments_and_empty_ones_are_refused(workspace: Workspace) -> None:
    with pytest.raises(UserError, match="two or more pipelines or run ids"):
        find_groups(workspace, [SPEC])
    with pytest.raises(UserError, match="'' is not a spec"):
        find_groups(workspace, ["", SPEC])


def test_an_unfinished_run_is_reported_with_the_command_that_finishes_it(
    workspace: Workspace, finished: Callable[..., Record]
) -> None:
    record = RunStore(Path("runs")).create("means", finished().spec)
    record.set_status("failed")
    command = f"harness run --resume {record.run_id}"
    with pytest.raises(UserError, match=rf"not finished \(failed\); finish it with: {command}"):
        find_group(workspace, record.run_id)


def test_a_folder_without_its_spec_is_damaged_and_no_unknown_pipeline(
    workspace: Workspace, finished: Callable[..., Record]
) -> None:
    run = finished()
    (run.folder / "spec.json").unlink()
    with pytest.raises(UserError, match=r"spec\.json cannot be read"):
        find_group(workspace, run.run_id)
    (Path("runs") / "raw-linear").mkdir()  # no run, and the name of a pipeline
    with pytest.warns(RecordWarning), pytest.raises(NoSuchRun):
        find_group(workspace, "raw-linear")


def test_runs_with_damaged_scores_are_left_out_with_a_warning(
    workspace: Workspace, finished: Callable[..., Record]
) -> None:
    other, earlier, latest = finished(seed=1), finished(), finished()
    (latest.folder / "scores.npz").write_bytes(b"PK")
    with pytest.warns(RecordWarning, match=rf"left out: .*{latest.run_id}.scores\.npz cannot be"):
        assert run_ids(workspace, SPEC) == [earlier.run_id, other.run_id]


def test_runs_are_found_by_the_digests_of_their_images(
    workspace: Workspace, workdir: Path, pictures: Callable[..., Path]
) -> None:
    pictures(workdir / "old", {"train/a": 6, "train/b": 6, "test/a": 2, "test/b": 2})
    result = harness.run(SPEC, "old", workspace=workspace, track=False)
    Path("old").rename("new")
    with pytest.warns(RecordWarning, match=rf"{result.run_id} was recorded on folder,path=.*/old"):
        (moved,) = find_group(workspace, SPEC, dataset="new")
    assert moved.run_id == result.run_id
    pictures(workdir / "other", {"train/a": 6, "train/b": 6, "test/a": 2, "test/b": 2}, seed=1)
    with pytest.raises(NoSuchRun):
        find_group(workspace, SPEC, dataset="other")


def test_a_run_on_the_new_path_leads_to_those_on_the_old_one(
    workspace: Workspace, finished: Callable[..., Record]
) -> None:
    """Without the images, which need not be there any more."""
    here = workspace.resolve("dataset", "folder,path=/here").spec
    there = finished(dataset=here.replace("here", "there"), seed=1)
    recorded = finished(dataset=here)
    finished(dataset=here.replace("here", "else"), seed=2, test_digest="e" * 32)
    with pytest.warns(RecordWarning, match=there.run_id) as warned:
        group = find_group(workspace, SPEC, dataset="folder,path=/here")
    assert [record.run_id for record in group] == [recorded.run_id, there.run_id]
    assert len(warned) == 1
    assert datasets_with_images_of(RunStore(Path("runs")), there) == [
        there.result.dataset,
        here,
    ]
