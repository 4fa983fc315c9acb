"""What is looked up before a run, and which unfinished run a request resumes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import harness
from harness import UserError, Workspace
from harness.engine.request import find_unfinished, rerun_command, resume_request
from harness.engine.runner import execute
from harness.runs.run_store import RunStore
from harness.runs.spec import RunSpec, SeedGroup

LookUp = Callable[..., Any]


def test_a_request_resolves_every_parameter_and_counts_the_images(
    look_up: LookUp, plugin: str
) -> None:
    request = look_up("nearest-mean", plugins=[plugin], limit=100)
    assert request.spec.pipeline == "nearest-mean,shrink=0.0"
    assert (request.name, request.label, request.family) == (
        "nearest-mean", "nearest-mean", "hand-crafted",
    )  # fmt: skip
    splits = request.splits
    assert [len(splits.train), len(splits.tune), len(splits.test)] == [90, 10, 500]
    assert request.spec.train_digest == splits.fit_digest
    assert not Path("runs").exists()


def test_the_label_has_the_parameters_that_differ_from_their_default(
    look_up: LookUp, plugin: str
) -> None:
    request = look_up("nearest-mean,shrink=0.5", plugins=[plugin])
    assert request.label == "nearest-mean,shrink=0.5"


def test_an_object_is_called_by_its_class_and_recognized_by_its_settings(
    look_up: LookUp, means: Callable[..., Any]
) -> None:
    plain, same, other = (look_up(means(way)).spec for way in ("", "", "constant"))
    assert plain.pipeline == "object:means"
    assert plain.from_object
    assert plain.source_hash == same.source_hash != other.source_hash


def test_parameters_that_exclude_each_other_leave_no_run_behind(workdir: Path) -> None:
    with pytest.raises(UserError, match="give one of the two"):
        harness.run("alexnet,epochs=3,updates=4", "digits")
    assert not (workdir / "runs").exists()


def test_resume_refuses_a_run_that_it_cannot_continue(look_up: LookUp, plugin: str) -> None:
    def request(**options: Any) -> Any:
        return look_up("nearest-mean", plugins=[plugin], **options)

    with pytest.raises(UserError, match="no unfinished run of nearest-mean"):
        find_unfinished(request())
    record = RunStore(Path("runs").resolve()).create("nearest-mean", request().spec)
    with pytest.raises(UserError, match="is still running"):
        find_unfinished(request())
    record.set_status("failed")
    assert find_unfinished(request(), record.run_id).run_id == record.run_id
    with pytest.raises(UserError, match="no unfinished run"):
        find_unfinished(request(seed=1))
    Path(plugin).write_text(Path(plugin).read_text() + "\n# changed\n")
    with pytest.raises(UserError, match="the source of the pipeline has changed"):
        find_unfinished(request())


def test_resume_refuses_a_finished_run_and_changed_data(
    look_up: LookUp, means: Callable[..., Any]
) -> None:
    request = look_up(means())
    result = execute(request)
    with pytest.raises(UserError, match="is finished; there is nothing to resume"):
        find_unfinished(request, result.run_id)
    changed = replace(request.spec, test_digest="0" * 32)
    RunStore(Path("runs")).create("means", changed).set_status("stopped")
    with pytest.raises(UserError, match="the test data has changed since it began"):
        find_unfinished(request)


def test_a_run_is_resumed_as_it_was_asked_for(look_up: LookUp, plugin: str) -> None:
    group = SeedGroup("nearest-mean-seeds-1", 3)
    options = {"seed": 2, "tune": 3, "limit": 200, "limit_test": 50, "test": False}
    request = look_up("nearest-mean", plugins=[plugin], seed_group=group, **options)
    record = RunStore(Path("runs").resolve()).create("nearest-mean", request.spec)
    workspace = Workspace.open(plugins=[plugin])
    again = resume_request(workspace, record)
    assert again.spec == request.spec
    changed = resume_request(workspace, record, seed=5)
    assert changed.spec == replace(request.spec, seed=5)
    with pytest.raises(UserError, match=f"add: --plugins {plugin}"):
        resume_request(Workspace.open(), record)


def test_an_ensemble_cannot_be_resumed(make_spec: Callable[..., RunSpec]) -> None:
    spec = make_spec(kind="ensemble", members=("a", "b"))
    record = RunStore(Path("runs")).create("ensemble", spec)
    with pytest.raises(UserError, match="made in one go: harness ensemble RUN RUN"):
        resume_request(Workspace.open(), record)


@pytest.mark.parametrize(
    ("fields", "command"),
    [
        ({}, "harness run --pipeline baseline,cell=8 --dataset digits --seed 3"),
        (
            {"tune": 0, "limit": 100, "limit_test": 50, "test": False},
            "harness run --pipeline baseline,cell=8 --dataset digits --seed 3 --tune 0 "
            "--limit 100 --limit-test 50 --no-test",
        ),
        (
            {"pipeline": "alexnet,views=1", "kind": "rescore", "weights_of": "alexnet-123456"},
            "harness rescore alexnet-123456 --views 1",
        ),
    ],
)
def test_a_run_knows_the_command_that_repeats_it(
    make_spec: Callable[..., RunSpec], fields: dict[str, Any], command: str
) -> None:
    spec = make_spec(**{"pipeline": "baseline,cell=8", "seed": 3, **fields})
    assert rerun_command(spec) == command


def test_the_repeating_command_leads_to_the_same_workspace(
    plugin: str, workdir: Path, means: Callable[..., Any]
) -> None:
    elsewhere = workdir / "elsewhere"
    result = harness.run(
        "nearest-mean", "digits", plugins=[plugin], data_root=elsewhere, track=False
    )
    assert result.command.endswith(f"--data-root {elsewhere} --plugins {plugin}")


def test_a_run_is_resumed_on_images_that_were_moved(
    look_up: LookUp, workdir: Path, pictures: Callable[..., Path]
) -> None:
    pictures(workdir / "old", {"train/a": 6, "train/b": 6, "test/a": 2, "test/b": 2})
    record = RunStore(workdir / "runs").create("raw-linear", look_up("raw-linear", "old").spec)
    record.set_status("stopped")
    Path("old").rename("new")
    assert find_unfinished(look_up("raw-linear", "new")).run_id == record.run_id
    request = resume_request(Workspace.open(), record, dataset="new")
    assert find_unfinished(request, record.run_id).run_id == record.run_id
    with pytest.raises(UserError, match="no unfinished run"):
        find_unfinished(look_up("raw-linear", "digits"))
