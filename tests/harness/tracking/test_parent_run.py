"""Several seeds are one run with the runs of each below it; an ensemble links to its members."""

from __future__ import annotations

from typing import Any

import pytest
from mlflow import MlflowClient

import harness
from harness.cli import cli
from harness.runs.record import Record
from harness.runs.run_store import RunStore
from harness.settings import Settings, load_settings
from harness.tracking.log_run import track, track_failure
from harness.tracking.sync import sync

ABOVE = {"run_id": "baseline-seeds-1", "seeds": 2}


def stored(settings: Settings) -> dict[str, Any]:
    """Name -> run."""
    client = MlflowClient(tracking_uri=settings.server.tracking_uri)
    experiment = client.get_experiment_by_name(settings.experiment.name)
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def one(settings: Settings, make_run: Any, seed: int, error: float, **fields: Any) -> None:
    result, folder = make_run(
        settings.root,
        spec={"parent": ABOVE},
        run_id=f"baseline-{seed}",
        seed=seed,
        top1_error=error,
        **fields,
    )
    track(result, folder, settings)


def test_the_run_above_fills_with_the_runs_below(settings: Settings, make_run: Any) -> None:
    one(settings, make_run, 0, 12.0)
    above = stored(settings)["baseline-seeds-1"]
    assert above.info.status == "RUNNING"
    assert above.data.tags["mlflow.note.content"].startswith(
        "**baseline** on digits, 1 of 2 seeds: top-1 error 12.00 %."
    )
    (settings.runs / "half-copied").mkdir()
    one(settings, make_run, 1, 10.0)
    runs = stored(settings)
    above = runs["baseline-seeds-1"]
    assert above.info.status == "FINISHED"
    assert {
        runs[name].data.tags["mlflow.parentRunId"] for name in ("baseline-0", "baseline-1")
    } == {above.info.run_id}
    assert (above.data.metrics["top1_error"], above.data.metrics["top1_error_sd"]) == (11.0, 1.41)
    assert "top1_error_ci_low" not in above.data.metrics  # an interval has no mean
    assert above.data.params == {
        "pipeline": "baseline,cell=8,flip=true",
        "dataset": 'digits,classes="0,1"',
        "seeds": "2",
    }
    text = above.data.tags["mlflow.note.content"]
    assert text.startswith(
        "**baseline** on digits, 2 of 2 seeds: top-1 error 11.00 %, standard deviation 1.41 over trainings."
    )
    assert f"[baseline-1](#/experiments/1/runs/{runs['baseline-1'].info.run_id}" in text


def test_a_seed_that_fails_is_seen_above_until_it_is_done(
    settings: Settings, make_run: Any
) -> None:
    one(settings, make_run, 0, 12.0)
    record = RunStore(settings.runs).create(
        "baseline", {**Record(settings.runs / "baseline-0").spec, "seed": 1}
    )
    record.set_status("failed", why="out of memory")
    track_failure(record, settings, reason="out of memory")
    assert stored(settings)["baseline-seeds-1"].info.status == "FAILED"
    assert len(stored(settings)) == 3
    one(settings, make_run, 1, 10.0)
    assert stored(settings)["baseline-seeds-1"].info.status == "FINISHED"


def test_seeds_made_without_a_store_are_nested_when_they_are_sent(
    settings: Settings, plugin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        arguments = [
            "run",
            "--pipeline",
            "nearest-mean",
            "--plugins",
            plugin,
            "--dataset",
            "digits",
            "--seeds",
            "2",
        ]
        cli(arguments, standalone_mode=False)
    assert len(sync(load_settings()).sent) == 2
    runs = stored(settings)
    (above,) = [run for name, run in runs.items() if name.startswith("nearest-mean-seeds-")]
    assert [run.data.tags.get("mlflow.parentRunId") for run in runs.values()].count(
        above.info.run_id
    ) == 2
    assert (above.info.status, above.data.tags["notes"]) == ("FINISHED", "mean of 2 seeds")


def test_an_ensemble_links_to_its_members(settings: Settings, plugin: str) -> None:
    options: dict[str, Any] = {"plugins": [plugin]}
    first = harness.run("nearest-mean", "digits", **options)
    second = harness.run("nearest-mean", "digits", seed=1, track=False, **options)
    made = harness.ensemble(first, second)
    runs = stored(settings)
    tags = runs[made.run_id].data.tags
    assert tags["members"] == f"{first.run_id} {second.run_id}"
    assert (
        f"[{first.run_id}](#/experiments/1/runs/{runs[first.run_id].info.run_id}"
        in tags["mlflow.note.content"]
    )
    assert (
        f", {second.run_id}\n" in tags["mlflow.note.content"]
    )  # not in the store, so without a link
