"""A finished run's pipeline, built again from its record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import harness
from harness import UserError, Workspace
from harness.engine.load import load_pipeline, new_pipeline, require_registered
from harness.errors import RecordWarning
from harness.runs.record import Record
from harness.runs.run_store import RunStore
from harness.runs.spec import RunSpec

CPU = torch.device("cpu")


def test_a_loaded_pipeline_scores_as_the_run_did(
    plugin: str, record_of: Callable[..., Any]
) -> None:
    record = record_of(harness.run("nearest-mean", "digits", plugins=[plugin], track=False))
    workspace = Workspace.open(plugins=[plugin])
    pipeline = load_pipeline(workspace, record, CPU)
    test = harness.load_dataset("digits").test
    scores = torch.cat([pipeline.scores(batch) for batch in test.batches(128)])
    assert scores.numpy() == pytest.approx(record.scores().scores)
    assert not hasattr(new_pipeline(workspace, record), "means")


@pytest.mark.parametrize("kind", ["pipeline", "dataset"])
def test_a_plugin_that_a_record_names_is_loaded_only_if_the_user_names_it(
    workdir: Path, make_spec: Callable[..., RunSpec], kind: Any
) -> None:
    store = RunStore(Path("runs"))
    record = store.create("mine", make_spec(**{kind: "mine", "plugins": ("mine.py",)}))
    plugin = record.folder / "mine.py"
    parameters = "*" if kind == "pipeline" else "root, *"
    plugin.write_text(f"open('executed', 'w')\ndef build({parameters}, step: int = 1): ...\n")
    record.save_spec(make_spec(**{kind: "mine", "plugins": (str(plugin.absolute()),)}))
    record = Record(record.folder)
    words = f"run {record.run_id} needs the {kind} 'mine' of a plugin, .* add: --plugins {plugin}"
    with pytest.raises(UserError, match=words.replace("--plugins ", "--plugins .*")):
        require_registered(Workspace.open().registry, record, kind)
    assert not (workdir / "executed").exists()
    require_registered(Workspace.open(plugins=[str(plugin)]).registry, record, kind)


def test_a_run_of_a_package_that_is_gone_says_so(make_spec: Callable[..., RunSpec]) -> None:
    record = RunStore(Path("runs")).create("theirs", make_spec(pipeline="theirs"))
    with pytest.raises(UserError, match="the pipeline 'theirs', which is not installed here"):
        new_pipeline(Workspace.open(), record)


def test_runs_without_a_pipeline_of_their_own_cannot_be_loaded(
    means: Callable[..., Any], record_of: Callable[..., Any], make_spec: Callable[..., RunSpec]
) -> None:
    workspace = Workspace.open()
    with pytest.raises(UserError, match="made from an object in a program"):
        new_pipeline(workspace, record_of(harness.run(means(), "digits", track=False)))
    ensemble = make_spec(kind="ensemble", members=("a-123456", "b-123456"))
    with pytest.raises(UserError, match="take its members: a-123456, b-123456"):
        new_pipeline(workspace, RunStore(Path("runs")).create("ensemble", ensemble))


def test_a_changed_source_is_a_warning_and_a_state_that_does_not_fit_an_error(
    plugin: str, workdir: Path, record_of: Callable[..., Any]
) -> None:
    record = record_of(harness.run("nearest-mean", "digits", plugins=[plugin], track=False))
    changed = workdir / "changed" / "nearest_mean.py"
    changed.parent.mkdir()
    changed.write_text(Path(plugin).read_text() + "# changed\n")
    with pytest.warns(RecordWarning, match=f"has changed since run {record.run_id}"):
        load_pipeline(Workspace.open(plugins=[str(changed)]), record, CPU)
    changed.write_text(Path(plugin).read_text().replace('state["means"]', 'state["other"]'))
    workspace = Workspace.open(plugins=[str(workdir / "other" / "nearest_mean.py")])
    changed.parent.rename(workdir / "other")
    with pytest.raises(UserError, match=r"state\.safetensors does not fit .* \(KeyError: 'other'"):
        load_pipeline(workspace, record, CPU)
