"""A finished run's pipeline, built again from its record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import harness
from harness import UserError, Workspace
from harness.engine.load import load_pipeline, new_pipeline, plugins_for
from harness.runs.run_store import RunStore
from harness.runs.spec import RunSpec

CPU = torch.device("cpu")


def test_a_loaded_pipeline_scores_as_the_run_did(
    plugin: str, record_of: Callable[..., Any]
) -> None:
    record = record_of(harness.run("nearest-mean", "digits", plugins=[plugin], track=False))
    workspace = Workspace.open()  # the record knows the plugin
    pipeline = load_pipeline(workspace, record, CPU)
    test = harness.load_dataset("digits").test
    scores = torch.cat([pipeline.scores(batch) for batch in test.batches(128)])
    assert scores.numpy() == pytest.approx(record.scores().scores)
    assert not hasattr(new_pipeline(workspace, record), "means")


def test_plugins_that_the_workspace_knows_take_precedence_over_those_of_the_run(
    plugin: str, workdir: Path, make_spec: Callable[..., RunSpec]
) -> None:
    spec = make_spec(pipeline="nearest-mean,shrink=0.0", plugins=(plugin,))
    record = RunStore(Path("runs")).create("nearest-mean", spec)
    assert plugins_for(record, Workspace.open().registry) == (plugin,)
    (workdir / "moved").mkdir()
    moved = str(Path(plugin).rename(workdir / "moved" / "nearest_mean.py"))
    assert plugins_for(record, Workspace.open(plugins=[moved]).registry) == (moved,)


def test_runs_without_a_pipeline_of_their_own_cannot_be_loaded(
    means: Callable[..., Any], record_of: Callable[..., Any], make_spec: Callable[..., RunSpec]
) -> None:
    workspace = Workspace.open()
    with pytest.raises(UserError, match="made from an object in a program"):
        new_pipeline(workspace, record_of(harness.run(means(), "digits", track=False)))
    ensemble = make_spec(kind="ensemble", members=("a-123456", "b-123456"))
    with pytest.raises(UserError, match="take its members: a-123456, b-123456"):
        new_pipeline(workspace, RunStore(Path("runs")).create("ensemble", ensemble))


def test_a_run_whose_plugin_is_gone_says_so(plugin: str, make_spec: Callable[..., RunSpec]) -> None:
    spec = make_spec(pipeline="nearest-mean,shrink=0.0", plugins=(plugin,))
    record = RunStore(Path("runs")).create("nearest-mean", spec)
    Path(plugin).unlink()
    with pytest.raises(UserError, match="no such file"):
        new_pipeline(Workspace.open(), record)
