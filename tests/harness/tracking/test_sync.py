"""What the store has not got is sent once: whatever was there, in part or not at all, and whoever else sends it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from harness.cli import cli
from harness.runs.record import Record
from harness.runs.run_store import RunStore
from harness.settings import Settings
from harness.tracking.log_run import track, track_failure
from harness.tracking.sync import Synced, sync


@pytest.fixture
def stored(settings: Settings) -> Callable[[], list[tuple[str, str]]]:
    """(name, status) of all runs in the store, read past MLflow."""

    def read() -> list[tuple[str, str]]:
        with sqlite3.connect(settings.server.database_file) as database:  # type: ignore[arg-type]
            return database.execute(
                "SELECT name, status FROM runs ORDER BY name, status"
            ).fetchall()

    return read


def unfinished(settings: Settings, state: str, **facts: Any) -> Record:
    record = RunStore(settings.runs).create(
        "hog-svm", {"pipeline": "hog-svm,c=none", "dataset": "digits", "title": "digits", "seed": 0}
    )
    record.set_status(state, **facts)
    return record


def test_what_is_missing_is_sent_and_what_is_there_is_not(
    settings: Settings, make_run: Any, stored: Any
) -> None:
    there, folder = make_run(settings.root)
    track(there, folder, settings)
    _, folder = make_run(settings.root, run_id="late-1")
    failed, stopped = (
        unfinished(settings, "failed", why="out of memory"),
        unfinished(settings, "stopped", why="KeyboardInterrupt: "),
    )
    running = unfinished(settings, "running")
    dead = unfinished(settings, "running")
    (dead.folder / "status.json").write_text(json.dumps({**dead.status, "pid_started": 1.0}))

    said: list[str] = []
    done = sync(settings, said.append)
    assert set(done.sent) == set(said) == {"late-1", failed.run_id, stopped.run_id, dead.run_id}
    assert (done.there, done.left, done.failed) == (
        ["baseline-digits-1"],
        {running.run_id: "still running"},
        {},
    )
    expected = {
        "baseline-digits-1": "FINISHED",
        "late-1": "FINISHED",
        failed.run_id: "FAILED",
        stopped.run_id: "KILLED",
        dead.run_id: "FAILED",
    }
    assert dict(stored()) == expected
    assert Record(folder).links  # as after a run: compare knows the way

    again = sync(settings)
    assert (again.sent, again.left, again.failed) == ([], done.left, {})
    assert set(again.there) == set(expected)
    assert len(stored()) == len(expected)


def test_a_run_that_was_written_in_part_is_completed(
    settings: Settings, make_run: Any, stored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the server, or this process, was killed at any of the steps: the run is there, RUNNING or FAILED, with some of its content."""
    result, _ = make_run(settings.root, curves={"train/loss": [(0, 1.0), (1, 0.5)]})
    for step in ("log_batch", "log_inputs", "log_artifact", "set_terminated"):
        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, step, broken)
            assert list(sync(settings).failed) == [result.run_id]
        assert len(stored()) == 1
        assert stored()[0][1] != "FINISHED"
    assert sync(settings).sent == [result.run_id]
    assert stored() == [(result.run_id, "FINISHED")]
    with sqlite3.connect(settings.server.database_file) as database:  # type: ignore[arg-type]
        assert database.execute(
            "SELECT count(*) FROM metrics WHERE key = 'train/loss'"
        ).fetchone() == (2,)
        assert database.execute(
            "SELECT count(*) FROM inputs WHERE destination_type = 'RUN'"
        ).fetchone() == (2,)


def broken(*args: Any, **options: Any) -> None:
    raise OSError(28, "No space left on device")


def test_a_failed_run_that_is_resumed_and_finishes_is_sent_again_as_finished(
    settings: Settings, make_run: Any, stored: Any
) -> None:
    result, folder = make_run(settings.root)
    track_failure(Record(folder), settings, reason="out of memory")
    assert sync(settings).sent == [result.run_id]
    assert stored() == [(result.run_id, "FINISHED")]


def test_what_somebody_deleted_there_is_not_brought_back(
    settings: Settings, make_run: Any, stored: Any
) -> None:
    result, folder = make_run(settings.root)
    track(result, folder, settings)
    client = MlflowClient(tracking_uri=settings.server.tracking_uri)
    (run,) = client.search_runs(
        [client.get_experiment_by_name(settings.experiment.name).experiment_id]
    )
    client.delete_run(run.info.run_id)
    assert sync(settings).left == {result.run_id: "deleted in MLflow"}
    assert len(stored()) == 1


def test_a_damaged_record_is_named_and_keeps_no_other_from_being_sent(
    settings: Settings, make_run: Any, stored: Any
) -> None:
    _, folder = make_run(settings.root, run_id="damaged-1")
    (folder / "result.json").write_text("{")
    make_run(settings.root, run_id="sound-1")
    done = sync(settings)
    assert done.sent == ["sound-1"]
    assert "cannot be read" in done.failed["damaged-1"]
    assert stored() == [("sound-1", "FINISHED")]


@pytest.mark.slow
def test_two_at_once_send_each_run_once(settings: Settings, make_run: Any, stored: Any) -> None:
    names = [f"run-{number}" for number in range(6)]
    for name in names:
        make_run(settings.root, run_id=name, curves={"train/loss": [(0, 1.0)]})
    program = [sys.executable, "-m", "harness", "sync", "--json"]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_T")
    }
    both = [
        subprocess.Popen(
            program,
            cwd=settings.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [
        (process.returncode, errors) for process, (_, errors) in zip(both, outputs, strict=True)
    ] == [(0, b""), (0, b"")]
    answers = [json.loads(out.splitlines()[-1]) for out, _ in outputs]
    assert sorted(answers[0]["sent"] + answers[1]["sent"]) == names
    assert all(sorted(answer["sent"] + answer["there"]) == names for answer in answers)
    assert stored() == [(name, "FINISHED") for name in names]
    with sqlite3.connect(settings.server.database_file) as database:  # type: ignore[arg-type]
        assert database.execute(
            "SELECT count(*) FROM metrics WHERE key = 'train/loss'"
        ).fetchone() == (len(names),)
        assert database.execute(
            "SELECT count(*) FROM inputs WHERE destination_type = 'RUN'"
        ).fetchone() == (2 * len(names),)


def test_the_command_says_what_it_did_and_its_exit_code_whether_anything_is_left(
    settings: Settings, make_run: Any, capsys: Any
) -> None:
    make_run(settings.root, run_id="sound-1")
    cli(["sync"], standalone_mode=False)
    assert capsys.readouterr().out.splitlines() == [
        "sent       sound-1",
        "1 sent, 0 already there, 0 left, 0 not sent",
    ]
    _, folder = make_run(settings.root, run_id="damaged-1")
    (folder / "result.json").unlink()
    with pytest.raises(SystemExit) as end:
        cli(["sync"], standalone_mode=False)
    assert end.value.code == 1
    assert "0 sent, 1 already there, 0 left, 1 not sent" in capsys.readouterr().out


def test_a_folder_without_runs_is_nothing_to_do(settings: Settings) -> None:
    assert sync(settings) == Synced()
    assert not Path("runs").exists()


def test_a_run_that_finishes_or_goes_meanwhile_is_not_called_damaged(
    settings: Settings, make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = make_run(settings.root, run_id="just-now-1")
    listed = [
        Record(folder.with_name("just-now-1.unfinished")),
        Record(folder.with_name("removed-1.unfinished")),
    ]
    monkeypatch.setattr(Runs, "all", lambda runs: listed)
    done = sync(settings)
    assert (done.sent, done.failed) == (["just-now-1"], {})
