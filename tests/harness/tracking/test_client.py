"""Connecting to MLflow, and what a user reads when that fails."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from harness.errors import UserError
from harness.settings import Experiment, Server, Settings
from harness.tracking.client import connect, describe_tracking
from harness.tracking.log_run import log_finished_run


def test_the_experiment_has_our_description_tags_and_artifact_folder(
    settings: Settings, stored: Any
) -> None:
    wanted = Experiment(name="mine", description="What this is.", tags={"room": "3"})
    with connect(replace(settings, experiment=wanted)):
        pass
    experiment = stored.client.get_experiment_by_name("mine")
    assert experiment.artifact_location.endswith(str(settings.root / "mlartifacts"))
    assert {"mlflow.note.content": "What this is.", "room": "3"}.items() <= experiment.tags.items()


def test_a_deleted_experiment_is_named_with_the_command_that_restores_it(
    settings: Settings, stored: Any
) -> None:
    with connect(settings) as client:
        experiment_id = client.experiment_id
    stored.client.delete_experiment(experiment_id)
    uri = settings.server.tracking_uri
    restore = (
        f"`MLFLOW_TRACKING_URI={uri} mlflow experiments restore --experiment-id {experiment_id}`"
    )
    with pytest.raises(UserError, match=restore), connect(settings):
        pass


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("http://127.0.0.1:1", "does not answer"),
        ("sqlite:///{root}/text.db", "not a database"),
        ("sqlite:///{root}/text.db/mlflow.db", "exists"),
        ("sqlite:///{root}", "unable to open"),
        ("mysql+nodriver://host/name", "nodriver"),
        ("file://{root}/mlruns", "maintenance"),
    ],
)
def test_a_place_that_cannot_be_used_is_explained_in_one_sentence(
    settings: Settings, uri: str, reason: str
) -> None:
    uri = uri.format(root=settings.root)
    (settings.root / "text.db").write_text("not a database" * 100)
    with (
        pytest.raises(UserError) as error,
        connect(replace(settings, server=Server(uri, None))),
    ):
        pass
    message = str(error.value)
    assert uri in message
    assert reason in message, message
    assert "\n" not in message


def test_a_password_is_in_no_message(settings: Settings) -> None:
    remote = replace(settings, server=Server("https://me:s3cret@mlflow.example/base/", None))
    assert describe_tracking(remote) == "MLflow at https://me:***@mlflow.example/base/"
    database = replace(settings, server=Server("nothing://me:s3cret@host/mlflow", None))
    with pytest.raises(UserError) as error, connect(database):
        pass
    assert "s3cret" not in str(error.value)


def test_an_error_of_an_object_store_library_is_shown(
    settings: Settings, add_record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mlflow does not wrap boto3's exceptions; any other exception stands for them here."""

    def refuse(*args: Any) -> None:
        raise RuntimeError("Unable to locate credentials")

    monkeypatch.setattr(MlflowClient, "log_artifact", refuse)
    message = r"RuntimeError: Unable to locate credentials; check server\.artifact_location"
    with pytest.raises(UserError, match=message):
        log_finished_run(add_record(), settings)


def test_mlflows_variables_are_set_during_a_connection_only(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    before = dict(os.environ)
    with connect(settings):
        during = dict(os.environ)
    assert dict(os.environ) == before
    assert during["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert during["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "7"


LOG_AT_THE_SAME_MOMENT = """
import sys, time
from pathlib import Path
import mlflow.store.tracking.sqlalchemy_store  # slow, so it is imported before the start
from harness.runs.record import Record
from harness.settings import load_settings
from harness.tracking.log_run import log_finished_run
folder, processes = Path(sys.argv[1]), int(sys.argv[2])
Path(f"ready-{folder.name}").touch()
while len(list(Path().glob("ready-*"))) < processes:
    time.sleep(0.01)
log_finished_run(Record(folder), load_settings())
"""


def test_processes_that_create_the_same_database_all_succeed_in_silence(
    workdir: Path, add_record: Any
) -> None:
    names = ["run-0", "run-1"]
    inherited = {key: v for key, v in os.environ.items() if not key.startswith("MLFLOW_")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", LOG_AT_THE_SAME_MOMENT, str(record.folder), str(len(names))],
            cwd=workdir,
            env=inherited,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for record in (add_record(run_id=name) for name in names)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    assert outputs == ["", ""]
    with sqlite3.connect(workdir / "mlflow.db") as database:
        rows = database.execute("SELECT name, status FROM runs ORDER BY name").fetchall()
    assert rows == [(name, "FINISHED") for name in names]
