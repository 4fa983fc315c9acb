"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from harness.cli import options
from harness.runs.run_store import RunStore
from harness.runs.spec import RunSpec

Harness = Callable[..., str]


def test_plugins_of_the_environment_are_separated_as_in_path(
    harness: Harness, plugin: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "my nets").mkdir()
    moved = Path(plugin).rename(workdir / "my nets" / "nearest_mean.py")
    (workdir / "other.py").write_text('"""Other."""\ndef build(*, a=1): ...\n')
    monkeypatch.setenv("HARNESS_PLUGINS", f"{moved}{os.pathsep}other.py")
    listed = harness("list")
    assert "nearest-mean" in listed
    assert "other" in listed


def complete(completion: Callable[..., list[object]], text: str, **params: object) -> list[str]:
    context = click.Context(click.Command("run"))
    context.params = params
    items = completion(context, click.Argument(["run"]), text)
    return [item.value for item in items]


def test_names_of_pipelines_and_runs_are_completed(
    plugin: str, make_spec: Callable[..., RunSpec]
) -> None:
    run_id = RunStore(Path("runs")).create("near", make_spec()).run_id
    assert complete(options.complete_pipeline, "nea", plugins=(plugin,)) == ["nearest-mean"]
    assert complete(options.complete_run, "nea") == [run_id]
    both = complete(options.complete_pipeline_or_run, "nea", plugins=(plugin,))
    assert both == ["nearest-mean", run_id]


def test_names_of_datasets_are_completed_with_those_below_the_data_root(workdir: Path) -> None:
    from harness.data.root import find_data_root

    assert find_data_root(workdir / "root") == workdir / "root"
    assert complete(options.complete_dataset, "dig", data_root=workdir / "root") == ["digits"]


def test_completion_is_empty_rather_than_an_error(workdir: Path) -> None:
    assert complete(options.complete_pipeline, "a", plugins=("nope.py",)) == []
    assert complete(options.complete_run, "a", config=Path("nope.yaml")) == []
