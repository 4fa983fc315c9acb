"""Runs that were removed from the record are removed from MLflow, too."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from harness.runs.spec import SeedGroup
from harness.settings import Settings, load_settings
from harness.tracking.log_run import log_finished_run
from harness.tracking.remove import remove_runs


def test_without_a_database_none_is_made(workdir: Path) -> None:
    assert remove_runs({"one-1": None}, load_settings()) == []
    assert not list(workdir.iterdir())


def test_a_run_is_deleted_and_another_stays(
    settings: Settings, stored: Any, add_record: Any
) -> None:
    for name in ("one-1", "two-1"):
        log_finished_run(add_record(run_id=name), settings)
    assert remove_runs({"one-1": None, "never-there-1": None}, settings) == ["one-1"]
    assert list(stored.runs()) == ["two-1"]


def test_the_parent_of_seeds_shows_the_mean_of_those_that_are_left(
    settings: Settings, stored: Any, add_record: Any
) -> None:
    group = SeedGroup("hog-seeds", 2)
    records = {
        name: add_record(
            run_id=name, seed=seed, n_test=100, top1_error=error, spec={"seed_group": group}
        )
        for name, seed, error in (("hog-0", 0, 20.0), ("hog-1", 1, 22.0))
    }
    for record in records.values():
        log_finished_run(record, settings)
    assert stored.runs()["hog-seeds"].data.metrics["top1_error"] == 21.0
    for name, left in (("hog-0", [22.0]), ("hog-1", [])):
        shutil.rmtree(records[name].folder)
        assert remove_runs({name: group}, settings) == [name]
        runs = stored.runs()
        parents = [run for run in runs.values() if run.info.run_name == "hog-seeds"]
        assert [run.data.metrics["top1_error"] for run in parents] == left
        if parents:
            tags = runs["hog-1"].data.tags
            assert tags["mlflow.parentRunId"] == parents[0].info.run_id
    assert stored.runs() == {}
