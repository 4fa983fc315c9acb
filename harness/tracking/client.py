"""The connection to MLflow: its database or server, our experiment, and the runs in it."""

from __future__ import annotations

import logging
import os
import re
import shlex
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.commands import harness_command
from harness.errors import UserError
from harness.settings import Settings, is_loopback
from harness.tracking.database import artifact_uri, create_or_check, follow_move, store_uri
from harness.tracking.saved_view import is_same_view, saved_views

# MLflow refuses more.
MAX_PARAM_CHARACTERS, MAX_TAG_CHARACTERS = 6000, 8000
MAX_BATCH_ITEMS = {"metrics": 1000, "params": 100, "tags": 100}

RUNS_PER_PAGE = 1000
# Creating a database takes 3 s; a longer wait means that the process that creates it hangs.
LOCK_SECONDS = 120
# By default mlflow tries an unreachable server for minutes, while a finished run waits.
HTTP_LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "15"}

# Besides those of mlflow; a file system without locks is `NotImplementedError`.
_OWN_ERRORS = (sqlite3.Error, OSError, ImportError, NotImplementedError)


class TrackingUnreachable(UserError):
    """The tracking server does not answer at all, so there is no point in trying the next run."""


class TrackingClient:
    """The runs of our MLflow experiment.

    MLflow gives each run an id of its own, called `mlflow_id` here; the tag `run_id` holds ours.

    Parameters
    ----------
    client : mlflow.MlflowClient
    settings : Settings
    experiment_id : str
    """

    def __init__(self, client: Any, settings: Settings, experiment_id: str) -> None:
        self.settings = settings
        self.experiment_id = experiment_id
        self._client = client

    def find_run(self, run_id: str) -> Any | None:
        """Return MLflow's record of our run, or None if there is none."""
        runs = self._client.search_runs(
            [self.experiment_id], f"tags.run_id = '{run_id}'", max_results=1
        )
        return runs[0] if runs else None

    def find_mlflow_ids(self, run_ids: Sequence[str]) -> dict[str, str]:
        """Return MLflow's id of each of our runs.

        Raises
        ------
        UserError
            If MLflow lacks one of the runs.
        """
        runs = {run_id: self.find_run(run_id) for run_id in run_ids}
        if missing := [run_id for run_id, run in runs.items() if run is None]:
            raise UserError(
                f"{describe_tracking(self.settings)} has no run {', '.join(missing)} in experiment "
                f"{self.settings.experiment.name!r}; send the runs on record with: "
                f"{harness_command('sync')}"
            )
        return {run_id: run.info.run_id for run_id, run in runs.items() if run}

    def find_or_create_run(self, run_id: str, started: str) -> str:
        """Return MLflow's id of our run, which is created when missing.

        Parameters
        ----------
        run_id : str
        started : str
            ISO 8601; the start of a run that is created.
        """
        with _creation_lock(self.settings):
            if run := self.find_run(run_id):
                return str(run.info.run_id)
            run = self._client.create_run(
                self.experiment_id,
                start_time=to_milliseconds(started),
                run_name=run_id,
                tags={"run_id": run_id},
            )
        return str(run.info.run_id)

    def delete_run(self, run_id: str) -> bool:
        """Move our run to MLflow's deleted ones; return whether it was there."""
        run = self.find_run(run_id)
        if run:
            self._client.delete_run(run.info.run_id)
        return run is not None

    def find_experiment_of(self, mlflow_id: str) -> Any | None:
        """Return the experiment that holds a run; None if MLflow has no such run (any more)."""
        from mlflow.exceptions import MlflowException

        try:
            run = self._client.get_run(mlflow_id)
            return self._client.get_experiment(run.info.experiment_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def all_runs(self) -> dict[str, Any]:
        """Return MLflow's record of every run by our id, including those deleted in MLflow."""
        from mlflow.entities import ViewType

        runs: dict[str, Any] = {}
        token = None
        while True:
            page = self._client.search_runs(
                [self.experiment_id],
                run_view_type=ViewType.ALL,
                max_results=RUNS_PER_PAGE,
                page_token=token,
            )
            for run in page:
                run_id = run.data.tags.get("run_id")
                # A run that was deleted and sent again is there twice; the active one counts.
                is_active = run.info.lifecycle_stage == "active"
                if run_id and (run_id not in runs or is_active):
                    runs[run_id] = run
            if not (token := page.token):
                return runs

    def log(
        self,
        mlflow_id: str,
        *,
        params: Mapping[str, str],
        tags: Mapping[str, str],
        metrics: Sequence[Any] = (),
    ) -> None:
        """Log params, tags and metrics in requests of the size that MLflow allows.

        Logging the same again changes nothing.
        """
        from mlflow.entities import Param, RunTag

        items: dict[str, Sequence[Any]] = {
            "params": [Param(mlflow_name(k), v[:MAX_PARAM_CHARACTERS]) for k, v in params.items()],
            "tags": [RunTag(mlflow_name(k), v[:MAX_TAG_CHARACTERS]) for k, v in tags.items()],
            "metrics": metrics,
        }
        for kind, values in items.items():
            size = MAX_BATCH_ITEMS[kind]
            for start in range(0, len(values), size):
                self._client.log_batch(mlflow_id, **{kind: values[start : start + size]})

    def log_datasets(self, mlflow_id: str, inputs: Sequence[Any]) -> None:
        self._client.log_inputs(mlflow_id, inputs)

    def log_artifact(self, mlflow_id: str, file: Path, folder: str | None = None) -> None:
        """Upload a plain file to the artifacts of a run.

        A link is left out: in a record that someone else made it could lead to any file here.

        Raises
        ------
        UserError
            Also for an error of an object store's own library, which mlflow does not wrap.
        """
        from mlflow.exceptions import MlflowException

        if file.is_symlink() or not file.is_file():
            return
        try:
            self._client.log_artifact(mlflow_id, str(file), folder)
        except (MlflowException, OSError, ImportError):
            raise  # `connect` explains these
        except Exception as error:
            raise UserError(
                f"{file.name} cannot be uploaded to MLflow's artifacts: {type(error).__name__}: "
                f"{error}; check server.artifact_location in mlflow.yaml and the credentials for it"
            ) from error

    def set_status(self, mlflow_id: str, status: str) -> None:
        """Set the status of a run that has not ended."""
        self._client.update_run(mlflow_id, status)

    def end_run(self, mlflow_id: str, status: str, finished: str | None = None) -> None:
        """Set the final status of a run and its end, ISO 8601 (default: now)."""
        end = to_milliseconds(finished) if finished else None
        self._client.set_terminated(mlflow_id, status, end)


@contextmanager
def connect(settings: Settings, *, must_exist: bool = False) -> Iterator[TrackingClient]:
    """Connect to the experiment of the settings, with its description, tags and views up to date.

    Parameters
    ----------
    settings : Settings
    must_exist : bool, default False
        Refuse a database file that does not exist; otherwise it is created.

    Raises
    ------
    UserError
        If MLflow cannot be reached, read or written, also from within the block.
    """
    file = settings.server.database_file
    if must_exist and file and not file.exists():
        create = harness_command("run")
        raise UserError(f"there is no MLflow database at {file} yet; `{create}` creates it")

    from filelock import Timeout

    with _mlflow_environment(settings):
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with _silence_mlflow():
                with _creation_lock(settings):
                    if file:
                        create_or_check(settings, file)
                    client = MlflowClient(tracking_uri=store_uri(settings.server))
                    client.search_experiments(max_results=1)  # creates or upgrades the tables
                    follow_move(settings)
                    experiment_id = _open_experiment(client, settings)
                yield TrackingClient(client, settings, experiment_id)
        except Timeout as error:
            raise UserError(
                f"{describe_tracking(settings)}: another process has held {error.lock_file} "
                f"for {LOCK_SECONDS} s; end it, then try again"
            ) from error
        except (*_OWN_ERRORS, MlflowException, SQLAlchemyError) as error:
            raise _explain(error, settings) from error


def publish_lock(settings: Settings) -> AbstractContextManager[None]:
    """Let one process at a time write runs: two that write the same run duplicate its datasets."""
    return _lock(settings, ".publish")


def describe_tracking(settings: Settings) -> str:
    """Return where runs are tracked, in words and without a password."""
    server = settings.server
    uri = f"sqlite:///{server.database_file}" if server.database_file else server.tracking_uri
    return mask_passwords(f"MLflow at {uri}")


def mask_passwords(text: str) -> str:
    """Return `text` with `***` for each URI's password, for logs that others read."""
    return re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", text)


def mlflow_name(text: str) -> str:
    """Return `text` as a name that MLflow accepts: letters, digits, `_ - . / :` and space."""
    return re.sub(r"[^\w\-./: ]", "_", text)


def to_milliseconds(moment: str) -> int:
    """Convert ISO 8601 to milliseconds since 1970."""
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def _open_experiment(client: Any, settings: Settings) -> str:
    """Return the experiment's id after creating it or bringing its tags and views up to date."""
    wanted = settings.experiment
    experiment = client.get_experiment_by_name(wanted.name)
    if experiment is None:
        experiment_id = client.create_experiment(
            wanted.name, artifact_location=artifact_uri(settings.server)
        )
        experiment = client.get_experiment(experiment_id)
    if experiment.lifecycle_stage != "active":
        uri = shlex.quote(mask_passwords(settings.server.tracking_uri))
        raise UserError(
            f"{describe_tracking(settings)}: experiment {wanted.name!r} was deleted; restore it "
            f"with `MLFLOW_TRACKING_URI={uri} mlflow experiments restore --experiment-id "
            f"{experiment.experiment_id}` or give another experiment.name in mlflow.yaml"
        )
    tags = {"mlflow.note.content": wanted.description, **wanted.tags}
    for tag, view in saved_views(settings.views.table).items():
        if not is_same_view(experiment.tags.get(tag), view):
            tags[tag] = view
    for tag, value in tags.items():
        if experiment.tags.get(tag) != value:
            client.set_experiment_tag(experiment.experiment_id, tag, value)
    return str(experiment.experiment_id)


@contextmanager
def _mlflow_environment(settings: Settings) -> Iterator[None]:
    """Set mlflow's variables for the block, except those that the user has set."""
    wanted = {**HTTP_LIMITS, "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
    if not settings.telemetry:
        wanted["MLFLOW_DISABLE_TELEMETRY"] = "true"
    changed = {name: value for name, value in wanted.items() if name not in os.environ}
    host = urlsplit(settings.server.tracking_uri).hostname if settings.server.is_remote else None
    if host and is_loopback(host):
        # A proxy would look for this host on its own machine.
        for name in ("no_proxy", "NO_PROXY"):
            changed[name] = ",".join(filter(None, [os.environ.get(name), host]))
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _silence_mlflow() -> Iterator[None]:
    """Suppress the log of mlflow and of its migrations, whose failures raise anyway.

    Enter it after `import mlflow`, which sets the level.
    """
    levels = {logger: logger.level for logger in map(logging.getLogger, ("mlflow", "alembic"))}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


def _creation_lock(settings: Settings) -> AbstractContextManager[None]:
    """Let one process at a time create: parallel migrations break a new sqlite database."""
    return _lock(settings)


@contextmanager
def _lock(settings: Settings, purpose: str = "") -> Iterator[None]:
    from filelock import FileLock

    file = settings.server.database_file or settings.root / "mlflow"
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}{purpose}.lock", timeout=LOCK_SECONDS):
        yield


def _explain(error: Exception, settings: Settings) -> UserError:
    """Turn an error of MLflow into one sentence: where, what is wrong, what to do."""
    from mlflow.exceptions import RestException

    if settings.server.is_remote and not isinstance(error, RestException):
        return TrackingUnreachable(
            f"{describe_tracking(settings)} does not answer as an MLflow server; start it, "
            "or correct MLFLOW_TRACKING_URI or server.tracking_uri in mlflow.yaml"
        )
    lines = [line.strip() for line in str(error).splitlines()]
    reasons = [line for line in lines if line and not line.startswith("(raised as a result of")]
    reason = mask_passwords(reasons[0] if reasons else type(error).__name__)
    file, sync = settings.server.database_file, harness_command("sync")
    if file and re.search(r"already exists|duplicate column|no such|malformed|not a data", reason):
        advice = f"it is incomplete or damaged; move {file} away, and `{sync}` fills a new one"
    elif isinstance(error, ImportError):
        advice = "install the database driver that it names, or use sqlite:///mlflow.db"
    else:
        advice = (
            "check that the place exists, is writable and has space, "
            "or give another server.tracking_uri in mlflow.yaml"
        )
    return UserError(f"{describe_tracking(settings)}: {reason}; {advice}")
