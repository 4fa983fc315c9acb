"""Runs written to MLflow from their records."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

from harness import __version__
from harness.render.table import markdown
from harness.runs.record import PICTURES, Record
from harness.settings import Settings
from harness.spec import parse_spec
from harness.tracking.client import TrackingClient, connect, publish_lock
from harness.tracking.contents import (
    dataset_inputs,
    describe_run,
    run_metrics,
    run_params,
    run_tags,
)
from harness.tracking.links import Links, make_links, run_page
from harness.tracking.parent_run import PARENT_TAG, find_or_create_parent, update_parent

ARTIFACTS = ("result.json", "spec.json", "log.txt", "scores.npz")
MAX_ARTIFACT_BYTES = 50 * 2**20  # larger files stay in the run folder


def log_finished_run(record: Record, settings: Settings) -> Links:
    """Write a finished run to MLflow.

    MLflow gets its parameters, metrics, curves, datasets, a description and the files of its
    folder. Writing it again adds what is missing and duplicates nothing.

    Parameters
    ----------
    record : Record
    settings : Settings

    Returns
    -------
    Links
        To this run.

    Raises
    ------
    UserError
        If MLflow cannot be reached, read or written.
    """
    with connect(settings) as client, publish_lock(settings):
        return write_finished_run(client, record)


def write_finished_run(client: TrackingClient, record: Record) -> Links:
    """Do what `log_finished_run` does, while the caller holds the publish lock.

    The status FINISHED is written last, so it means that MLflow has all of the run.
    """
    result = record.result
    mlflow_id = client.find_or_create_run(result.run_id, result.started)
    try:
        _write_contents(client, mlflow_id, record)
        client.end_run(mlflow_id, "FINISHED", result.finished)
    except BaseException:
        with suppress(Exception):
            client.end_run(mlflow_id, "FAILED")
        raise
    return make_links(client.settings, client.experiment_id, {result.run_id: mlflow_id})


def _write_contents(client: TrackingClient, mlflow_id: str, record: Record) -> None:
    result, folder = record.result, record.folder
    member_pages = _member_pages(client, record)
    tags = {
        **client.settings.run.tags,
        **run_tags(result),
        "mlflow.note.content": describe_run(result, member_pages),
    }
    if member_pages:
        tags["members"] = " ".join(member_pages)
    parent_id = find_or_create_parent(client, record, result.started)
    if parent_id:
        tags[PARENT_TAG] = parent_id
    client.log(mlflow_id, params=run_params(result), metrics=run_metrics(result), tags=tags)
    client.log_datasets(mlflow_id, dataset_inputs(result))
    for name in ARTIFACTS:
        file = folder / name
        if file.is_file() and file.stat().st_size < MAX_ARTIFACT_BYTES:
            client.log_artifact(mlflow_id, file)
    for picture in sorted((folder / PICTURES).glob("*.png")):
        client.log_artifact(mlflow_id, picture, PICTURES)
    if parent_id:
        update_parent(client, parent_id, record)


def _member_pages(client: TrackingClient, record: Record) -> dict[str, str | None]:
    """Return the page of each member of an ensemble; None for a member that MLflow lacks."""
    runs = {run_id: client.find_run(run_id) for run_id in record.spec.members}
    return {
        run_id: run_page(client.experiment_id, run.info.run_id) if run else None
        for run_id, run in runs.items()
    }


def log_failed_run(
    record: Record, settings: Settings, *, reason: str, killed: bool = False
) -> Links:
    """Write a run that did not finish to MLflow, without metrics, so no table of results shows it.

    Parameters
    ----------
    record : Record
    settings : Settings
    reason : str
        One line, such as the message of the error.
    killed : bool, default False
        Ended by Ctrl-C: the status is KILLED instead of FAILED.

    Returns
    -------
    Links
        To this run.

    Raises
    ------
    UserError
        If MLflow cannot be reached, read or written.
    """
    with connect(settings) as client, publish_lock(settings):
        return write_failed_run(client, record, reason=reason, killed=killed)


def write_failed_run(client: TrackingClient, record: Record, *, reason: str, killed: bool) -> Links:
    """Do what `log_failed_run` does, while the caller holds the publish lock.

    The status is written last, so it means that MLflow has all of the run.
    """
    spec = record.spec
    name = parse_spec(spec.pipeline)[0]
    started = record.status.get("started") or datetime.now(UTC).isoformat()
    mlflow_id = client.find_or_create_run(record.run_id, started)
    tags = {
        **client.settings.run.tags,
        "pipeline": name,
        "dataset": parse_spec(spec.dataset)[0],
        "harness.version": __version__,
        "mlflow.note.content": f"**{name}** did not finish: {markdown(reason)}",
    }
    parent_id = find_or_create_parent(client, record, started)
    if parent_id:
        tags[PARENT_TAG] = parent_id
    params = {"pipeline": spec.pipeline, "dataset": spec.dataset, "seed": str(spec.seed)}
    client.log(mlflow_id, params=params, tags=tags)
    if (record.folder / "log.txt").is_file():
        client.log_artifact(mlflow_id, record.folder / "log.txt")
    if parent_id:
        update_parent(client, parent_id, record)
    client.end_run(mlflow_id, "KILLED" if killed else "FAILED")
    return make_links(client.settings, client.experiment_id, {record.run_id: mlflow_id})
