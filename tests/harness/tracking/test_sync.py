"""`harness sync` sends what MLflow lacks, once, whatever it has already and whoever else sends."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from harness.cli import cli
from harness.runs.record import Record
from harness.runs.run_store import RunStore
from harness.runs.spec import RunSpec
from harness.settings import Experiment, Settings, load_settings
from harness.tracking.log_run import log_failed_run, log_finished_run
from harness.tracking.sync import SyncSummary, sync_runs

HOG_SVM = RunSpec(
    kind="fit",
    pipeline="hog-svm,c=none",
    dataset="digits",
    title="digits",
    seed=0,
    class_names=tuple("0123456789"),
    source_hash="d" * 16,
    train_digest="a" * 32,
    test_digest="b" * 32,
)


@pytest.fixture
def query(settings: Settings) -> Callable[[str], list[tuple[Any, ...]]]:
    """Query MLflow's database without MLflow."""

    def run(sql: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(settings.root / "mlflow.db") as database:
            return database.execute(sql).fetchall()

    return run


def all_runs(query: Any) -> list[tuple[str, str]]:
    """Return (name, status) of every run, including duplicates and deleted ones."""
    return list(query("SELECT name, status FROM runs ORDER BY name, status"))


def unfinished(settings: Settings, state: str, **status: Any) -> Record:
    record = RunStore(settings.runs).create("hog-svm", HOG_SVM)
    record.set_status(state, **status)
    return record


def test_sync_sends_the_runs_that_mlflow_lacks(
    settings: Settings, add_record: Any, query: Any
) -> None:
    log_finished_run(add_record(run_id="present-1"), settings)
    late = add_record(run_id="late-1")
    failed = unfinished(settings, "failed", why="out of memory")
    stopped = unfinished(settings, "stopped", why="KeyboardInterrupt: ")
    running = unfinished(settings, "running")
    dead = unfinished(settings, "running", pid_started="another boot 1")

    announced: list[str] = []
    first = sync_runs(settings, announced.append)
    assert set(first.sent) == {"late-1", failed.run_id, stopped.run_id, dead.run_id}
    assert first.sent == announced
    assert first.present == ["present-1"]
    assert first.skipped == {running.run_id: "still running"}
    assert first.failed == {}
    statuses = {
        "present-1": "FINISHED",
        "late-1": "FINISHED",
        failed.run_id: "FAILED",
        stopped.run_id: "KILLED",
        dead.run_id: "FAILED",
    }
    assert dict(all_runs(query)) == statuses
    assert late.links  # as after `harness run`, so `harness compare` can link to it

    again = sync_runs(settings)
    assert (again.sent, again.skipped, again.failed) == ([], first.skipped, {})
    assert set(again.present) == set(statuses)
    assert len(all_runs(query)) == len(statuses)


def test_a_run_that_was_only_partly_written_is_completed(
    settings: Settings, add_record: Any, query: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step fails once, as if the server or this process had been killed there."""
    record = add_record(curves={"train/loss": [(0, 1.0), (1, 0.5)]})
    for step in ("log_batch", "log_inputs", "log_artifact", "set_terminated"):
        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, step, fail)
            assert list(sync_runs(settings).failed) == [record.run_id]
        ((_, status),) = all_runs(query)
        assert status != "FINISHED"
    assert sync_runs(settings).sent == [record.run_id]
    assert all_runs(query) == [(record.run_id, "FINISHED")]
    assert query("SELECT count(*) FROM metrics WHERE key = 'train/loss'") == [(2,)]
    assert query("SELECT count(*) FROM inputs WHERE destination_type = 'RUN'") == [(2,)]


def fail(*args: Any, **options: Any) -> None:
    raise OSError(28, "No space left on device")


def test_a_failed_run_that_was_resumed_and_finished_is_sent_again(
    settings: Settings, add_record: Any, query: Any
) -> None:
    record = add_record()
    log_failed_run(record, settings, reason="out of memory")
    assert sync_runs(settings).sent == [record.run_id]
    assert all_runs(query) == [(record.run_id, "FINISHED")]


def test_a_run_that_was_deleted_in_mlflow_stays_deleted(
    settings: Settings, stored: Any, add_record: Any, query: Any
) -> None:
    record = add_record()
    log_finished_run(record, settings)
    stored.client.delete_run(stored.run().info.run_id)
    assert sync_runs(settings).skipped == {record.run_id: "deleted in MLflow"}
    assert len(all_runs(query)) == 1


def test_an_experiment_that_was_renamed_or_replaced_is_named(
    settings: Settings, stored: Any, add_record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(settings.root / "mlflow.db", settings.root / "empty.db")
    for name in ("one-1", "two-1"):
        add_record(run_id=name)
    assert sync_runs(settings).notes == []
    stored.client.rename_experiment(stored.experiment.experiment_id, "paper")
    summary = sync_runs(settings)
    assert summary.notes == [
        "2 of the runs sent earlier are in MLflow's experiment 'paper', which was perhaps renamed; "
        "to go on there, give experiment.name: paper in mlflow.yaml"
    ]
    assert summary.sent == ["one-1", "two-1"]
    stored.client.delete_experiment(stored.experiment.experiment_id)
    another = replace(settings, experiment=Experiment("another"))
    (note,) = sync_runs(another).notes
    assert note.startswith("2 of the runs sent earlier are in MLflow's experiment 'before-after', ")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///empty.db")
    (note,) = sync_runs(load_settings()).notes
    assert note.startswith("2 of the runs sent earlier MLflow no longer has; the experiment 'bef")
    assert sync_runs(load_settings()).notes == []


def test_a_damaged_record_does_not_keep_others_from_being_sent(
    settings: Settings, add_record: Any, query: Any
) -> None:
    damaged = add_record(run_id="damaged-1")
    (damaged.folder / "result.json").write_text("{")
    add_record(run_id="sound-1")
    summary = sync_runs(settings)
    assert summary.sent == ["sound-1"]
    assert "cannot be read" in summary.failed["damaged-1"]
    assert all_runs(query) == [("sound-1", "FINISHED")]


def test_a_record_whose_errors_are_not_those_of_its_scores_is_not_sent(
    settings: Settings, add_record: Any
) -> None:
    edited = add_record(run_id="edited-1")
    edited.finish(replace(edited.result, mean_class_error=1.0))
    copied = add_record(run_id="copied-1")
    shutil.copytree(copied.folder, copied.folder.with_name("copy"))
    summary = sync_runs(settings)
    assert summary.sent == ["copied-1"]
    assert "says mean_class_error 1.0" in summary.failed["edited-1"]
    assert "is a copy of the run copied-1" in summary.failed["copy"]


def test_a_link_in_a_run_folder_is_not_followed(
    settings: Settings, add_record: Any, stored: Any, workdir: Path
) -> None:
    record = add_record(run_id="received-1")
    (workdir / "secret.txt").write_text("mine")
    (record.folder / "log.txt").unlink()
    (record.folder / "log.txt").symlink_to(workdir / "secret.txt")
    assert sync_runs(settings).sent == ["received-1"]
    assert stored.artifacts("received-1") == {"result.json", "spec.json", "scores.npz"}


def test_a_run_that_finishes_or_is_removed_during_a_sync_is_not_damaged(
    settings: Settings, add_record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = add_record(run_id="just-now-1").folder
    names = ("just-now-1.unfinished", "removed-1.unfinished")
    listed = [Record(folder.with_name(name)) for name in names]
    monkeypatch.setattr(RunStore, "all", lambda store: listed)
    summary = sync_runs(settings)
    assert (summary.sent, summary.failed) == (["just-now-1"], {})


def test_without_runs_there_is_nothing_to_send(settings: Settings) -> None:
    assert sync_runs(settings) == SyncSummary()
    assert not Path("runs").exists()


def test_the_command_lists_what_it_did_and_fails_if_a_run_was_not_sent(
    settings: Settings, add_record: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    add_record(run_id="sound-1")
    cli(["sync"], standalone_mode=False)
    assert capsys.readouterr().out.splitlines() == [
        "sent       sound-1",
        "1 sent, 0 already in MLflow, 0 skipped, 0 not sent",
    ]
    damaged = add_record(run_id="damaged-1")
    (damaged.folder / "result.json").unlink()
    with pytest.raises(SystemExit) as exit_code:
        cli(["sync"], standalone_mode=False)
    assert exit_code.value.code == 1
    assert "0 sent, 1 already in MLflow, 0 skipped, 1 not sent" in capsys.readouterr().out


@pytest.mark.slow
def test_two_syncs_at_once_send_each_run_once(
    settings: Settings, add_record: Any, query: Any
) -> None:
    names = [f"run-{number}" for number in range(6)]
    for name in names:
        add_record(run_id=name, curves={"train/loss": [(0, 1.0)]})
    environment = {key: v for key, v in os.environ.items() if not key.startswith("MLFLOW_T")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "harness", "sync", "--json"],
            cwd=settings.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert [errors for _, errors in outputs] == [b"", b""]
    one, other = [json.loads(out.splitlines()[-1]) for out, _ in outputs]
    assert sorted(one["sent"] + other["sent"]) == names
    for summary in (one, other):
        assert sorted(summary["sent"] + summary["present"]) == names
    assert all_runs(query) == [(name, "FINISHED") for name in names]
    points = query("SELECT count(*) FROM metrics WHERE key = 'train/loss'")
    datasets = query("SELECT count(*) FROM inputs WHERE destination_type = 'RUN'")
    assert (points, datasets) == ([(len(names),)], [(2 * len(names),)])
