"""Runs of several seeds share a parent in MLflow; an ensemble links to its members."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import harness
from harness.cli import cli
from harness.runs.record import Record
from harness.runs.run_store import RunStore
from harness.runs.spec import SeedGroup
from harness.settings import Settings, load_settings
from harness.tracking.log_run import log_failed_run, log_finished_run
from harness.tracking.sync import sync_runs

PARENT = "baseline-seeds-1"


@pytest.fixture
def log_seed(settings: Settings, add_record: Any) -> Any:
    """Log the finished run of one of two seeds with this top-1 error."""

    def log(seed: int, error: float) -> Record:
        record: Record = add_record(
            spec={"seed_group": SeedGroup(PARENT, 2)},
            run_id=f"baseline-{seed}",
            seed=seed,
            n_test=100,
            top1_error=error,
        )
        log_finished_run(record, settings)
        return record

    return log


def test_the_parent_shows_the_seeds_that_have_finished(
    settings: Settings, stored: Any, log_seed: Any
) -> None:
    log_seed(0, 12.0)
    parent = stored.runs()[PARENT]
    assert parent.info.status == "RUNNING"
    summary = "**baseline** on digits, 1 of 2 seeds: top-1 error 12.00 %."
    assert parent.data.tags["mlflow.note.content"].startswith(summary)

    (settings.runs / "half-copied").mkdir()  # a damaged record changes nothing
    log_seed(1, 10.0)
    runs = stored.runs()
    parent = runs[PARENT]
    assert parent.info.status == "FINISHED"
    for name in ("baseline-0", "baseline-1"):
        assert runs[name].data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert parent.data.metrics["top1_error"] == 11.0
    assert parent.data.metrics["top1_error_sd"] == 1.41
    assert "top1_error_ci_low" not in parent.data.metrics  # the mean of bounds bounds nothing
    assert parent.data.params == {
        "pipeline": "baseline,cell=8,flip=true",
        "dataset": 'digits,classes="0,1"',
        "seeds": "2",
    }
    assert parent.data.tags["notes"] == "mean of 2 seeds; recipe: short"
    text = parent.data.tags["mlflow.note.content"]
    assert text.startswith(
        "**baseline** on digits, 2 of 2 seeds: top-1 error 11.00 %, "
        "standard deviation 1.41 over seeds."
    )
    page = f"#/experiments/1/runs/{runs['baseline-1'].info.run_id}?workflowType=machine_learning"
    assert f"| [baseline-1]({page}) | 1 | 10.00 % | 11.00 % |" in text.splitlines()


def test_the_parent_has_failed_until_the_seed_that_failed_is_done(
    settings: Settings, stored: Any, log_seed: Any
) -> None:
    first = log_seed(0, 12.0)
    failed = RunStore(settings.runs).create("baseline", replace(first.spec, seed=1))
    failed.set_status("failed", why="out of memory")
    log_failed_run(failed, settings, reason="out of memory")
    assert stored.statuses() == {
        "baseline-0": "FINISHED",
        failed.run_id: "FAILED",
        PARENT: "FAILED",
    }
    log_seed(1, 10.0)
    assert stored.statuses()[PARENT] == "FINISHED"


def test_seeds_that_ran_without_mlflow_get_their_parent_when_they_are_sent(
    settings: Settings, stored: Any, plugin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        arguments = ["run", "--pipeline", "nearest-mean", "--plugins", plugin]
        cli([*arguments, "--dataset", "digits", "--seeds", "2"], standalone_mode=False)
    assert len(sync_runs(load_settings()).sent) == 2
    runs = stored.runs()
    (parent,) = [run for name, run in runs.items() if name.startswith("nearest-mean-seeds-")]
    parents = [run.data.tags.get("mlflow.parentRunId") for run in runs.values()]
    assert parents.count(parent.info.run_id) == 2
    assert (parent.info.status, parent.data.tags["notes"]) == ("FINISHED", "mean of 2 seeds")


def test_an_ensemble_links_to_its_members(settings: Settings, stored: Any, plugin: str) -> None:
    options: dict[str, Any] = {"plugins": [plugin]}
    first = harness.run("nearest-mean", "digits", **options)
    second = harness.run("nearest-mean", "digits", seed=1, track=False, **options)
    ensemble = harness.ensemble(first, second)
    runs = stored.runs()
    tags = runs[ensemble.run_id].data.tags
    assert tags["members"] == f"{first.run_id} {second.run_id}"
    text = tags["mlflow.note.content"]
    assert f"[{first.run_id}](#/experiments/1/runs/{runs[first.run_id].info.run_id}" in text
    assert f", {second.run_id}\n" in text  # MLflow lacks it, so there is no link
