"""The sqlite file of MLflow: its URI, its creation in one step, and its files after a move."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from glob import escape
from pathlib import Path
from urllib.parse import unquote, urlsplit

from harness.settings import Server, Settings, sqlite_uri


def store_uri(server: Server) -> str:
    """Return the tracking URI as MLflow understands it, whatever characters a path holds."""
    file = server.database_file
    return _sqlite_uri(file) if file else server.tracking_uri


def artifact_uri(server: Server) -> str | None:
    """Return the place for the files of new experiments as a URI; None: MLflow's own choice."""
    folder = server.artifact_folder
    return folder.as_uri() if folder else server.artifact_location


def create_or_check(settings: Settings, file: Path) -> None:
    """Create the database if there is none, else make sure that it can be written.

    A new one gets its tables under another name and is renamed when it is complete, so that a full
    disk or a killed process leaves no half of it. The caller holds the lock for creation.

    Parameters
    ----------
    settings : Settings
    file : Path
        The database of the settings.
    """
    if file.exists() and file.stat().st_size > 0:
        # Fail at once where mlflow would retry for minutes: no database, or a read-only one.
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("BEGIN IMMEDIATE")
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    _remove_drafts(file)  # of a process that was killed
    # Never a name twice: within a process, mlflow keeps its connection to a draft that failed.
    draft = file.with_name(f".{file.name}.new-{secrets.token_hex(4)}")
    try:
        root = artifact_uri(settings.server) or (file.parent / "mlartifacts").as_uri()
        store = SqlAlchemyStore(_sqlite_uri(draft), root)
        store.engine.dispose()
        draft.replace(file)
        # A database of this name that was removed while this process had it open.
        if engine := getattr(SqlAlchemyStore, "_engine_map", {}).get(_sqlite_uri(file)):
            engine.dispose()
    finally:
        _remove_drafts(file)


def follow_move(settings: Settings) -> None:
    """Lead MLflow to the files of its runs after their project was moved or copied.

    MLflow keeps absolute paths, and would make the old folder anew for the next file. An experiment
    whose folder has the name of ours, but lies in another project, came here with the database. A
    run keeps its path only where its files are at the old place and not at the new one.

    Parameters
    ----------
    settings : Settings
        Their database exists.
    """
    file, new = settings.server.database_file, settings.server.artifact_folder
    if file is None or new is None or settings.root not in file.parents:
        return  # only a database inside of the project moves with it
    with closing(sqlite3.connect(file)) as connection, connection:
        for experiment_id, name, location in connection.execute(
            "SELECT experiment_id, name, artifact_location FROM experiments"
        ).fetchall():
            old = _local_folder(location)
            # MLflow gives the first experiment, `Default`, a folder below.
            folder = new if experiment_id else new / "0"
            if old is None or not _has_moved(old, folder, settings, name):
                continue
            moved = [("experiments", "artifact_location", "experiment_id", experiment_id, folder)]
            moved += _moved_runs(connection, experiment_id, old, folder)
            for table, column, key, value, place in moved:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (place.as_uri(), value)
                )


def _moved_runs(
    connection: sqlite3.Connection, experiment_id: int, old: Path, new: Path
) -> Iterator[tuple[str, str, str, str, Path]]:
    """Yield table, column, key, value and new folder of each run below `old`."""
    for mlflow_id, uri in connection.execute(
        "SELECT run_uuid, artifact_uri FROM runs WHERE experiment_id = ?", (experiment_id,)
    ).fetchall():
        folder = _local_folder(uri)
        if folder is None or old not in folder.parents:
            continue
        moved = new / folder.relative_to(old)
        if moved.exists() or not folder.exists():
            yield "runs", "artifact_uri", "run_uuid", mlflow_id, moved


def _has_moved(old: Path, new: Path, settings: Settings, experiment: str) -> bool:
    root = settings.root.resolve()
    if root in old.resolve().parents or old.resolve() == new.resolve():
        return False
    if settings.root in new.parents:
        name = new.relative_to(settings.root).parts
        if old.parts[-len(name) :] == name:
            return True
    # The settings may have named another folder since.
    return experiment == settings.experiment.name and not old.parent.exists()


def _local_folder(location: str | None) -> Path | None:
    """Return the folder of an artifact location; None if it is not on this machine."""
    if not location:
        return None
    if location.startswith("/"):  # as this project wrote it formerly
        return Path(location)
    parts = urlsplit(location)
    is_local = parts.scheme == "file" and parts.netloc in ("", "localhost")
    return Path(unquote(parts.path)) if is_local else None


def _sqlite_uri(file: Path) -> str:
    from sqlalchemy.engine import make_url

    quoted = sqlite_uri(file)
    # SQLAlchemy before 2.1 takes the path as it is.
    return quoted if make_url(quoted).database == str(file) else f"sqlite:///{file}"


def _remove_drafts(file: Path) -> None:
    for draft in file.parent.glob(f".{escape(file.name)}.new-*"):
        draft.unlink(missing_ok=True)
