"""The tracking store: how to reach it, what is wrong when it cannot be, and the experiment and runs in it."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.settings import Settings
from harness.tracking.saved_view import same_view, views

PARAM_LENGTH, TAG_LENGTH = 6000, 8000  # characters; MLflow refuses more
BATCH = {"metrics": 1000, "params": 100, "tags": 100}  # items in one request; MLflow refuses more
PAGE = 1000  # runs in one answer
LOCK_SECONDS = 120  # creating a store takes 3 s; longer means that somebody else's creation hangs
# An unreachable server would otherwise be tried for minutes while a finished run waits to be reported.
HTTP_LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "15"}


class Unreachable(UserError):
    """The store does not answer at all, so that there is no use in trying the next run."""


@contextmanager
def connection(settings: Settings) -> Iterator[Any]:
    """An MlflowClient on the store, which is created when missing. mlflow's errors leave as UserError, its chatter not at all."""
    from filelock import Timeout

    with _environment(settings):
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with _quiet():
                with _store_lock(settings):
                    if file := settings.server.database_file:
                        _check_writable(file)
                    client = MlflowClient(tracking_uri=settings.server.tracking_uri)
                    client.search_experiments(
                        max_results=1
                    )  # the first question creates or upgrades the tables
                yield client
        except Timeout as error:
            raise UserError(
                f"{store(settings)}: another process has held {error.lock_file} for {LOCK_SECONDS} s"
            ) from error
        except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, ImportError) as error:
            raise _explained(error, settings) from error


@contextmanager
def existing(settings: Settings) -> Iterator[Any]:
    """As `connection`, and a UserError when there is no store yet."""
    if (file := settings.server.database_file) and not file.exists():
        raise UserError(f"there is no tracking store at {file} yet; `harness run` creates it")
    with connection(settings) as client:
        yield client


@contextmanager
def _environment(settings: Settings) -> Iterator[None]:
    """mlflow's switches for the time of a call; what the user has set stays as it is."""
    wanted = {**HTTP_LIMITS, "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
    if not settings.telemetry:
        wanted["MLFLOW_DISABLE_TELEMETRY"] = "true"
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Not a line from mlflow and its database migrations: what matters is raised. Enter after `import mlflow` has set its level."""
    levels = {logger: logger.level for logger in map(logging.getLogger, ("mlflow", "alembic"))}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


@contextmanager
def _store_lock(settings: Settings, what: str = "") -> Iterator[None]:
    """One process at a time: two that create the same sqlite store at once break each other's migrations."""
    from filelock import FileLock

    file = settings.server.database_file or settings.root / "mlflow"
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}{what}.lock", timeout=LOCK_SECONDS):
        yield


def sending(settings: Settings) -> AbstractContextManager[None]:
    """One process at a time writes a run: two that write the same one would each add its datasets."""
    return _store_lock(settings, ".sending")


def _check_writable(file: Path) -> None:
    """Fail at once where mlflow would try for minutes to open a file that is no database or cannot be written."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("BEGIN IMMEDIATE")


def store(settings: Settings) -> str:
    return without_password(f"tracking store {settings.server.tracking_uri}")


def without_password(text: str) -> str:
    """With each address's password masked: what is said is kept in logs, which others read."""
    return re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", text)


def _explained(error: Exception, settings: Settings) -> UserError:
    """In one sentence: which store, what is wrong with it, what to do."""
    from mlflow.exceptions import RestException

    said = [
        line
        for line in str(error).splitlines()
        if line.strip() and not line.startswith("(raised as a result of")
    ]
    reason = without_password((said or [type(error).__name__])[0].strip())
    if settings.server.is_remote and not isinstance(error, RestException):
        return Unreachable(
            f"{store(settings)} does not answer as an MLflow server; "
            f"start it, or correct MLFLOW_TRACKING_URI or server.tracking_uri in mlflow.yaml"
        )
    if isinstance(error, ImportError):
        advice = "install the database driver it names, or use sqlite:///mlflow.db"
    else:
        advice = "check that the place exists, is writable and has space, or give another server.tracking_uri in mlflow.yaml"
    return UserError(f"{store(settings)}: {reason}; {advice}")


def experiment_id(client: Any, settings: Settings) -> str:
    """The id of the experiment, created when missing, with its description, tags and saved view up to date."""
    wanted = settings.experiment
    with _store_lock(settings):
        experiment = client.get_experiment_by_name(wanted.name)
        if experiment is None:
            identifier = client.create_experiment(
                wanted.name, artifact_location=settings.server.artifact_location
            )
            experiment = client.get_experiment(identifier)
        if experiment.lifecycle_stage != "active":
            raise UserError(
                f"{store(settings)}: experiment {wanted.name!r} was deleted; restore it with "
                f"`mlflow experiments restore --experiment-id {experiment.experiment_id}` or give another experiment.name"
            )
        tags = {"mlflow.note.content": wanted.description, **wanted.tags}
        tags |= {
            tag: view
            for tag, view in views(settings.views.table).items()
            if not same_view(experiment.tags.get(tag), view)
        }
        for key, value in tags.items():
            if experiment.tags.get(key) != value:
                client.set_experiment_tag(experiment.experiment_id, key, value)
    return str(experiment.experiment_id)


def find_or_create(client: Any, settings: Settings, run_id: str, started: str) -> str:
    """The MLflow id of our run; the tag `run_id` joins the two."""
    experiment = experiment_id(client, settings)
    with _store_lock(settings):
        if found := find(client, experiment, run_id):
            return str(found.info.run_id)
        run = client.create_run(
            experiment, start_time=milliseconds(started), run_name=run_id, tags={"run_id": run_id}
        )
    return str(run.info.run_id)


def find(client: Any, experiment: str, run_id: str) -> Any | None:
    """MLflow's record of our run."""
    found = client.search_runs([experiment], f"tags.run_id = '{run_id}'", max_results=1)
    return found[0] if found else None


def everything(client: Any, experiment: str) -> dict[str, Any]:
    """Our id -> MLflow's record, of all runs, those that were deleted there included."""
    from mlflow.entities import ViewType

    found, token = {}, None
    while True:
        page = client.search_runs(
            [experiment], run_view_type=ViewType.ALL, max_results=PAGE, page_token=token
        )
        for run in page:
            # Where one was deleted and sent again, the one that is shown counts.
            if (key := run.data.tags.get("run_id")) and (
                key not in found or run.info.lifecycle_stage == "active"
            ):
                found[key] = run
        if not (token := page.token):
            return found


def log(
    client: Any,
    run: str,
    *,
    params: Mapping[str, str],
    tags: Mapping[str, str],
    metrics: Sequence[Any] = (),
) -> None:
    """Everything in requests of the allowed size. Logging the same again changes nothing."""
    from mlflow.entities import Param, RunTag

    items: dict[str, Sequence[Any]] = {
        "params": [Param(allowed(key), value[:PARAM_LENGTH]) for key, value in params.items()],
        "tags": [RunTag(allowed(key), value[:TAG_LENGTH]) for key, value in tags.items()],
        "metrics": metrics,
    }
    for kind, values in items.items():
        for start in range(0, len(values), BATCH[kind]):
            client.log_batch(run, **{kind: values[start : start + BATCH[kind]]})


def upload(client: Any, run: str, file: Path, folder: str | None = None) -> None:
    """A file beside the run, as MLflow says: an artifact. Raises UserError also for what mlflow lets through of an object store's library."""
    from mlflow.exceptions import MlflowException

    try:
        client.log_artifact(run, str(file), folder)
    except (MlflowException, OSError, ImportError):
        raise
    except Exception as error:
        raise UserError(
            f"{file.name} cannot be put where MLflow keeps the files of runs: {type(error).__name__}: {error}; "
            f"see server.artifact_location in mlflow.yaml, and the credentials for that place"
        ) from error


def allowed(text: str) -> str:
    """A name that MLflow takes: letters, digits and `_ - . / :` and space."""
    return re.sub(r"[^\w\-./: ]", "_", text)


def milliseconds(moment: str) -> int:
    """ISO 8601 to milliseconds since 1970."""
    return round(datetime.fromisoformat(moment).timestamp() * 1000)
