"""Which records the arguments of compare refer to, and what is said where there are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.runs.record import Record
from harness.runs.run_store import RunStore
from harness.runs.select import NoSuchRun, find_group, find_groups
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
