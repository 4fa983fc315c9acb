"""The one file that knows MLflow: it writes finished run folders to the tracking store and gives the links to look at them.

The run folder is the record and MLflow its mirror. So `track` may be called again for a run (the same MLflow run is filled in
again, never a second one), and whatever goes wrong here leaves as a UserError of one sentence that the caller may show and pass
over. mlflow takes seconds to import and is imported inside functions only.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness import __version__
from harness.contract import Result
from harness.errors import UserError
from harness.saved_view import VIEW, VIEW_TAG, same_view, table_view
from harness.settings import Settings
from harness.spec import parse_spec

ARTIFACTS = ("result.json", "spec.json", "log.txt", "scores.npz")
ARTIFACT_BYTES = 50 * 2**20  # larger files stay in the run folder
PARAM_LENGTH, TAG_LENGTH = 6000, 8000  # characters; MLflow refuses more
BATCH = {"metrics": 1000, "params": 100, "tags": 100}  # items in one request; MLflow refuses more
LOCK_SECONDS = 120  # creating a store takes 3 s; longer means that somebody else's creation hangs
# An unreachable server would otherwise be tried for minutes while a finished run waits to be reported.
HTTP_LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "15"}


@dataclass(frozen=True)
class Links:
    """Addresses in the MLflow UI. Where the store is a database, they work while `harness ui` runs.

    table    the saved table of all runs
    runs     run id -> that run's page
    compare  these runs side by side; None for fewer than two
    """

    table: str
    runs: Mapping[str, str]
    compare: str | None


def track(result: Result, folder: Path, settings: Settings) -> Links:
    """Write a finished run to MLflow: parameters, metrics, curves, data sets, description and the files of its folder.

    Raises UserError when the store cannot be reached, read or written.
    """
    with _connection(settings) as client:
        run = _find_or_create(client, settings, result.run_id, result.started)
        try:
            _log(client, run, params=_params(result), metrics=_metrics(result), tags={**settings.run.tags, **_tags(result)})
            client.log_inputs(run, _dataset_inputs(result))
            for name in ARTIFACTS:
                if (folder / name).is_file() and (folder / name).stat().st_size < ARTIFACT_BYTES:
                    client.log_artifact(run, str(folder / name))
            client.set_terminated(run, "FINISHED", _milliseconds(result.finished))
        except BaseException:
            with suppress(Exception):
                client.set_terminated(run, "FAILED")
            raise
        return _links(client, settings, [result.run_id])


def track_failure(
    run_id: str,
    folder: Path,
    settings: Settings,
    *,
    pipeline: str,
    dataset: str,
    seed: int,
    started: str,
    reason: str,
    killed: bool = False,
) -> Links:
    """Write a run that did not finish: FAILED, or KILLED by Ctrl-C. It gets no metrics, so no table of results shows it.

    pipeline, dataset  resolved specs
    started            ISO 8601
    reason             one line, such as the error's message
    Raises UserError as `track` does.
    """
    tags = {
        "pipeline": parse_spec(pipeline)[0],
        "dataset": parse_spec(dataset)[0],
        "harness.version": __version__,
        "mlflow.note.content": f"**{parse_spec(pipeline)[0]}** did not finish: {reason}",
    }
    with _connection(settings) as client:
        run = _find_or_create(client, settings, run_id, started)
        _log(client, run, params={"pipeline": pipeline, "dataset": dataset, "seed": str(seed)}, tags={**settings.run.tags, **tags})
        if (folder / "log.txt").is_file():
            client.log_artifact(run, str(folder / "log.txt"))
        client.set_terminated(run, "KILLED" if killed else "FAILED")
        return _links(client, settings, [run_id])


def links(settings: Settings, run_ids: Sequence[str] = ()) -> Links:
    """Where to look at these runs. The saved table is brought up to date with `settings.views` on the way.

    Raises UserError when there is no store yet, or it lacks one of the runs.
    """
    if (file := settings.server.database_file) and not file.exists():
        raise UserError(f"there is no tracking store at {file} yet; `harness run` creates it")
    with _connection(settings) as client:
        return _links(client, settings, run_ids)


# The store


@contextmanager
def _connection(settings: Settings) -> Iterator[Any]:
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
                    client.search_experiments(max_results=1)  # the first question creates or upgrades the tables
                yield client
        except Timeout as error:
            raise UserError(f"{_store(settings)}: another process has held {error.lock_file} for {LOCK_SECONDS} s") from error
        except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, ImportError) as error:
            raise UserError(_explain(error, settings)) from error


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
def _store_lock(settings: Settings) -> Iterator[None]:
    """One process at a time: two that create the same sqlite store at once break each other's migrations."""
    from filelock import FileLock

    file = settings.server.database_file or settings.root / "mlflow"
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock", timeout=LOCK_SECONDS):
        yield


def _check_writable(file: Path) -> None:
    """Fail at once where mlflow would try for minutes to open a file that is no database or cannot be written."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("BEGIN IMMEDIATE")


def _store(settings: Settings) -> str:
    return f"tracking store {settings.server.tracking_uri}"


def _explain(error: Exception, settings: Settings) -> str:
    """One sentence: which store, what is wrong with it, what to do."""
    from mlflow.exceptions import RestException

    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if settings.server.is_remote and not isinstance(error, RestException):
        return (
            f"{_store(settings)} does not answer as an MLflow server; "
            f"start it, or correct MLFLOW_TRACKING_URI or server.tracking_uri in mlflow.yaml"
        )
    if isinstance(error, ImportError):
        advice = "install the database driver it names, or use sqlite:///mlflow.db"
    else:
        advice = "check that the place exists, is writable and has space, or give another server.tracking_uri in mlflow.yaml"
    return f"{_store(settings)}: {reason}; {advice}"


def _experiment(client: Any, settings: Settings) -> str:
    """The id of the experiment, created when missing, with its description, tags and saved view up to date."""
    wanted = settings.experiment
    with _store_lock(settings):
        experiment = client.get_experiment_by_name(wanted.name)
        if experiment is None:
            identifier = client.create_experiment(wanted.name, artifact_location=settings.server.artifact_location)
            experiment = client.get_experiment(identifier)
        if experiment.lifecycle_stage != "active":
            raise UserError(
                f"{_store(settings)}: experiment {wanted.name!r} was deleted; restore it with "
                f"`mlflow experiments restore --experiment-id {experiment.experiment_id}` or give another experiment.name"
            )
        tags = {"mlflow.note.content": wanted.description, **wanted.tags}
        view = table_view(settings.views.table)
        if not same_view(experiment.tags.get(VIEW_TAG), view):
            tags[VIEW_TAG] = view
        for key, value in tags.items():
            if experiment.tags.get(key) != value:
                client.set_experiment_tag(experiment.experiment_id, key, value)
    return str(experiment.experiment_id)


def _find_or_create(client: Any, settings: Settings, run_id: str, started: str) -> str:
    """The MLflow id of our run; the tag `run_id` joins the two."""
    experiment = _experiment(client, settings)
    with _store_lock(settings):
        if found := _find(client, experiment, run_id):
            return found
        run = client.create_run(experiment, start_time=_milliseconds(started), run_name=run_id, tags={"run_id": run_id})
    return str(run.info.run_id)


def _find(client: Any, experiment: str, run_id: str) -> str | None:
    found = client.search_runs([experiment], f"tags.run_id = '{run_id}'", max_results=1)
    return str(found[0].info.run_id) if found else None


def _log(client: Any, run: str, *, params: Mapping[str, str], tags: Mapping[str, str], metrics: Sequence[Any] = ()) -> None:
    """Everything in requests of the allowed size. Logging the same again changes nothing."""
    from mlflow.entities import Param, RunTag

    items: dict[str, Sequence[Any]] = {
        "params": [Param(_name(key), value[:PARAM_LENGTH]) for key, value in params.items()],
        "tags": [RunTag(_name(key), value[:TAG_LENGTH]) for key, value in tags.items()],
        "metrics": metrics,
    }
    for kind, values in items.items():
        for start in range(0, len(values), BATCH[kind]):
            client.log_batch(run, **{kind: values[start : start + BATCH[kind]]})


def _name(text: str) -> str:
    """A name that MLflow takes: letters, digits and `_ - . / :` and space."""
    return re.sub(r"[^\w\-./: ]", "_", text)


def _milliseconds(moment: str) -> int:
    """ISO 8601 to milliseconds since 1970."""
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


# What a run shows


def _params(result: Result) -> dict[str, str]:
    params: dict[str, Any] = {"pipeline": result.pipeline, "dataset": result.dataset}
    for owner in ("pipeline", "dataset"):
        params |= {f"{owner}.{key}": value for key, value in parse_spec(params[owner])[1].items()}
    names = ("seed", "tune", "limit", "limit_test", "classes", "n_train", "n_tune", "n_test", "n_fit", "refitted")
    params |= {name: getattr(result, name) for name in names}
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in params.items() if value is not None
    }


def _metrics(result: Result) -> list[Any]:
    """The headline figures, once each, and the curves by step. A figure that could not be had is left out, never 0."""
    from mlflow.entities import Metric

    percent = ("top1_error", "top1_error_ci_low", "top1_error_ci_high", "top5_error", "mean_class_error", "tune_top1_error")
    cost = ("fit_seconds", "score_seconds", "cached_seconds", "images_per_second", "peak_memory_mb")
    size = ("params_millions", "gflops_per_image")
    # The table shows every digit that is logged.
    figures = {name: (getattr(result, name), lambda value: round(value, 2)) for name in percent}
    figures |= {name: (getattr(result, name), lambda value: float(f"{value:.4g}")) for name in (*cost, *size)}
    moment = _milliseconds(result.finished)
    headline = [Metric(name, rounded(value), moment, 0) for name, (value, rounded) in figures.items() if value is not None]
    # MLflow would store an infinite loss as 1.8e308, which flattens the chart.
    points = [
        Metric(_name(name), value if math.isfinite(value) else math.nan, moment, step)
        for name, curve in result.curves.items()
        for step, value in curve
    ]
    return headline + points


def _tags(result: Result) -> dict[str, str]:
    return {
        "pipeline": result.name,
        "family": result.family,
        "dataset": result.title,
        "test_digest": result.test_digest,
        "train_digest": result.train_digest,
        "identity": result.identity,
        "source_hash": result.source_hash,
        "harness.version": __version__,
        "notes": "; ".join(result.notes) or "-",
        "mlflow.note.content": describe(result),
    }


def _dataset_inputs(result: Result) -> list[Any]:
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import DatasetInput, InputTag

    source = CodeDatasetSource({"spec": result.dataset})
    return [
        DatasetInput(
            MetaDataset(source, name=f"{result.title} {split}", digest=digest)._to_mlflow_entity(),
            [InputTag("mlflow.data.context", split)],
        )
        for split, digest in (("train", result.train_digest), ("test", result.test_digest))
    ]


def describe(result: Result) -> str:
    """The run in words, as Markdown: what was measured on what, what it cost, and what a reader must know."""
    interval = ""
    if result.top1_error_ci_low is not None:
        interval = f" (95 % interval {result.top1_error_ci_low:.2f} to {result.top1_error_ci_high:.2f})"
    rows = [
        ("top-1 error", _figure(result, "top1_error", "{:.2f} %") + interval),
        ("top-5 error", _figure(result, "top5_error", "{:.2f} %")),
        ("mean class error", _figure(result, "mean_class_error", "{:.2f} %")),
        ("top-1 error on tune", _figure(result, "tune_top1_error", "{:.2f} %")),
        ("fit", f"{result.fit_seconds:.1f} s, of which {result.cached_seconds:.1f} s came from the cache"),
        ("score", _figure(result, "score_seconds", "{:.1f} s")),
        ("images scored per second", _figure(result, "images_per_second", "{:.0f}")),
        ("peak memory", f"{result.peak_memory_mb:.0f} MB"),
        ("parameters", _figure(result, "params_millions", "{:.3g} million")),
        ("cost of one image", _figure(result, "gflops_per_image", "{:.3g} GFLOPs")),
    ]
    fitted = f"Fitted on {result.n_fit} labelled images of {result.n_train} train + {result.n_tune} tune"
    fitted += ", refitted after tuning" if result.refitted else ""
    headline = _figure(result, "top1_error", "top-1 error {:.2f} %" + f" on {result.n_test} images")
    lines = [
        f"**{result.name}** ({result.family}) on {result.title}: {headline}.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows),
        "",
        f"{fitted}. Look {result.test_looks} of this pipeline at this test split.",
        "",
        *(f"- {text}" for text in (*result.notes, *result.remarks)),
        "",
        "```",
        result.command,
        "```",
    ]
    return "\n".join(lines)


def _figure(result: Result, name: str, form: str) -> str:
    value = getattr(result, name)
    return f"not available: {result.absent.get(name, 'no reason given')}" if value is None else form.format(value)


# Where to look at it


def _links(client: Any, settings: Settings, run_ids: Sequence[str]) -> Links:
    experiment = _experiment(client, settings)
    found = {run_id: _find(client, experiment, run_id) for run_id in run_ids}
    if missing := [run_id for run_id, run in found.items() if run is None]:
        raise UserError(f"{_store(settings)} has no run {', '.join(missing)} in experiment {settings.experiment.name!r}")
    base = settings.server.tracking_uri.rstrip("/") if settings.server.is_remote else settings.ui.address
    mode = "workflowType=machine_learning"  # else the UI opens on its pages for language models
    runs = quote(json.dumps(list(found.values())))
    compare = f"{base}/#/compare-runs?runs={runs}&experiments={quote(json.dumps([experiment]))}&{mode}"
    return Links(
        table=f"{base}/#/experiments/{experiment}/runs?viewStateShareKey={VIEW}&{mode}",
        runs={run_id: f"{base}/#/experiments/{experiment}/runs/{run}?{mode}" for run_id, run in found.items()},
        compare=compare if len(found) > 1 else None,
    )
