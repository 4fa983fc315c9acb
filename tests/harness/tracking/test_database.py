"""The sqlite file of MLflow: any path, created in one step, and moved with its project."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import pytest
from mlflow import MlflowClient

from harness.errors import UserError
from harness.runs.record import Record
from harness.settings import Settings, load_settings
from harness.tracking.client import connect
from harness.tracking.database import store_uri
from harness.tracking.log_run import log_finished_run

NAMES = ["my%20project", "what?", "c#", "R&D", 'it\'s "new"', "Müller 文", "50%", "plain"]
FILES = {"result.json", "spec.json", "log.txt", "scores.npz"}


@pytest.fixture
def project(workdir: Path, empty_store: Path) -> Callable[..., Settings]:
    """Make a project of this name with an empty database, and return its settings."""

    def make(name: str, text: str = "", database: str = "mlflow.db") -> Settings:
        folder = workdir / "projects" / name
        (folder / database).parent.mkdir(parents=True)
        (folder / "mlflow.yaml").write_text(text)
        shutil.copy(empty_store, folder / database)
        return load_settings(folder / "mlflow.yaml")

    return make


@pytest.fixture
def publish(make_run: Any) -> Callable[[Settings, str], None]:
    """Log a finished run of this id in a project."""

    def log(settings: Settings, run_id: str) -> None:
        _, folder = make_run(settings.root, run_id=run_id)
        log_finished_run(Record(folder), settings)

    return log


def move(settings: Settings, name: str) -> Settings:
    new = settings.root.with_name(name)
    settings.root.rename(new)
    return load_settings(new / "mlflow.yaml")


def files_in_mlflow(settings: Settings) -> dict[str, set[str]]:
    """Return the files of each run that MLflow's own client lists and can download."""
    client = MlflowClient(tracking_uri=store_uri(settings.server))
    experiment = client.get_experiment_by_name(settings.experiment.name)
    return {
        run.info.run_name: {
            Path(client.download_artifacts(run.info.run_id, file.path)).name
            for file in client.list_artifacts(run.info.run_id)
        }
        for run in client.search_runs([experiment.experiment_id])
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_project_of_any_name_keeps_everything_inside_and_can_be_renamed(
    name: str, project: Any, publish: Any
) -> None:
    settings = project(name)
    publish(settings, "first-1")
    moved = move(settings, f"new {name}")
    publish(moved, "second-1")
    assert files_in_mlflow(moved) == {"first-1": FILES, "second-1": FILES}
    assert [folder.name for folder in moved.root.parent.iterdir()] == [f"new {name}"]
    assert {item.name for item in moved.root.iterdir()} == {
        *("mlflow.yaml", "mlflow.db", "mlflow.db.lock", "mlflow.db.publish.lock"),
        *("runs", "mlartifacts"),
    }


def test_the_store_of_a_version_that_kept_plain_paths_follows_too(
    project: Any, publish: Any
) -> None:
    settings = project("old")
    publish(settings, "first-1")
    with sqlite3.connect(settings.root / "mlflow.db") as database:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            database.execute(f"UPDATE {table} SET {column} = replace({column}, 'file://', '')")
    moved = move(settings, "new")
    publish(moved, "second-1")
    assert files_in_mlflow(moved) == {"first-1": FILES, "second-1": FILES}
    assert not settings.root.exists()


@pytest.mark.parametrize(
    ("text", "database"),
    [
        ("server: {tracking_uri: 'sqlite:///store/m.db', artifact_location: a/b}", "store/m.db"),
        ("experiment: {name: other}", "mlflow.db"),
    ],
)
def test_folders_and_names_of_ones_own_move_too(
    text: str, database: str, project: Any, publish: Any
) -> None:
    settings = project("old", text, database)
    publish(settings, "first-1")
    moved = move(settings, "new")
    publish(moved, "second-1")
    assert files_in_mlflow(moved) == {"first-1": FILES, "second-1": FILES}
    assert not settings.root.exists()


def test_a_copy_and_its_original_each_keep_their_own_files(project: Any, publish: Any) -> None:
    original = project("one")
    publish(original, "first-1")
    shutil.copytree(original.root, original.root.with_name("two"))
    copy = load_settings(original.root.with_name("two") / "mlflow.yaml")
    publish(copy, "second-1")
    publish(original, "third-1")
    assert files_in_mlflow(copy) == {"first-1": FILES, "second-1": FILES}
    assert files_in_mlflow(original) == {"first-1": FILES, "third-1": FILES}
    for settings in (original, copy):
        assert len(list((settings.root / "mlartifacts").iterdir())) == 2


def test_a_copied_database_alone_still_shows_the_files_at_the_old_place(
    project: Any, publish: Any
) -> None:
    original, bare = project("one"), project("two")
    publish(original, "first-1")
    shutil.copy(original.root / "mlflow.db", bare.root / "mlflow.db")
    publish(bare, "second-1")
    assert files_in_mlflow(bare) == {"first-1": FILES, "second-1": FILES}
    assert len(list((bare.root / "mlartifacts").iterdir())) == 1


def test_another_folder_for_new_experiments_leaves_the_old_one_alone(
    project: Any, publish: Any
) -> None:
    settings = project("one")
    publish(settings, "first-1")
    (settings.root / "mlflow.yaml").write_text("server: {artifact_location: elsewhere}")
    changed = load_settings(settings.root / "mlflow.yaml")
    publish(changed, "second-1")
    assert files_in_mlflow(changed) == {"first-1": FILES, "second-1": FILES}
    assert not (settings.root / "elsewhere").exists()


def test_a_database_that_several_projects_share_is_not_moved(
    project: Any, publish: Any, monkeypatch: pytest.MonkeyPatch, empty_store: Path, workdir: Path
) -> None:
    shutil.copy(empty_store, workdir / "shared.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workdir}/shared.db")
    one, two = project("one"), project("two")
    publish(one, "first-1")
    publish(two, "second-1")
    assert files_in_mlflow(two) == {"first-1": FILES, "second-1": FILES}
    assert not (two.root / "mlartifacts").exists()


@pytest.mark.parametrize("name", ["my%20project", "what?", "c#", "R & D"])
@pytest.mark.parametrize("spell", [str, quote], ids=["pasted", "quoted"])
def test_an_absolute_uri_may_be_pasted_or_quoted(
    name: str, spell: Callable[[str], str], workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = workdir / name / "m.db"
    file.parent.mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{spell(str(file))}")
    server = load_settings().server
    assert server.database_file == file
    assert server.tracking_uri == f"sqlite+pysqlite:///{quote(str(file))}"


# Its creation


CREATE = "from harness.tracking.client import connect; from harness.settings import load_settings\n"
CREATE += "with connect(load_settings()): print('created')"


def is_complete(file: Path) -> bool:
    with sqlite3.connect(file) as database:
        return database.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)


def test_a_creation_that_fails_or_was_killed_leaves_nothing(
    workdir: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings()

    def copy_tables(engine: Any) -> None:
        """Do in no time what takes mlflow seconds."""
        with sqlite3.connect(empty_store) as whole, sqlite3.connect(engine.url.database) as new:
            whole.backup(new)

    def fill_disk(engine: Any) -> None:
        engine.connect().close()
        assert list(workdir.glob(".mlflow.db.new-*"))
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.store.db.utils._initialize_tables", fill_disk)
        with pytest.raises(UserError, match="No space left on device; check that the place"):
            connect(settings).__enter__()
    assert {file.name for file in workdir.iterdir()} == {"mlflow.db.lock"}
    (workdir / ".mlflow.db.new-0123").write_bytes(b"what a killed process left")
    (workdir / "mlflow.db").touch()  # as sqlite leaves it on a full disk
    monkeypatch.setattr("mlflow.store.db.utils._initialize_tables", copy_tables)
    with connect(settings):
        pass
    assert is_complete(workdir / "mlflow.db")
    assert not list(workdir.glob(".*"))
    (workdir / "mlflow.db").unlink()
    with connect(settings):  # the process has the removed one open
        pass
    with sqlite3.connect("mlflow.db") as database:
        names = database.execute("SELECT name FROM experiments ORDER BY name").fetchall()
    assert names == [("Default",), ("before-after",)]


def test_half_a_database_of_an_earlier_version_is_named_with_what_to_do(
    workdir: Path, empty_store: Path
) -> None:
    shutil.copy(empty_store, workdir / "mlflow.db")
    with sqlite3.connect(workdir / "mlflow.db") as database:
        database.execute("DELETE FROM alembic_version")
        database.execute("DROP TABLE webhooks")
    with pytest.raises(UserError, match=r"incomplete or damaged; move .*mlflow\.db away, and"):
        connect(load_settings()).__enter__()


@pytest.mark.slow
def test_processes_that_create_at_once_and_are_killed_leave_one_whole_database(
    workdir: Path,
) -> None:
    random = Random(0)
    for attempt in range(8):
        processes = [
            subprocess.Popen([sys.executable, "-c", CREATE], stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        if attempt < 6:
            time.sleep(random.uniform(1, 5))
            processes[0].send_signal(signal.SIGKILL)
        assert [process.communicate(timeout=120)[1] for process in processes][1] == ""
        assert processes[1].returncode == 0
        assert is_complete(workdir / "mlflow.db")
        assert not list(workdir.glob(".mlflow*"))
        (workdir / "mlflow.db").unlink()
