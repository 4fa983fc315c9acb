"""Send every record on disk that MLflow lacks, once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from harness.errors import UserError
from harness.metrics.verification import verify
from harness.runs.record import Record
from harness.runs.run_store import RunStore
from harness.settings import Settings
from harness.tracking.client import TrackingClient, TrackingUnreachable, connect, publish_lock
from harness.tracking.log_run import write_failed_run, write_finished_run


@dataclass
class SyncSummary:
    """What a sync did with each run.

    Parameters
    ----------
    sent, present : list of str
        Ids of the runs that were sent, and of those that MLflow already had.
    skipped, failed : dict of str to str
        Why a run was not sent on purpose, and why one could not be sent, by run id.
    notes : list of str
        What became of runs that MLflow had, but no longer has in this experiment.
    """

    sent: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def sync_runs(settings: Settings, on_sent: Callable[[str], None] | None = None) -> SyncSummary:
    """Send the finished and failed runs that MLflow lacks or has only in part.

    MLflow itself is asked what it has, so neither a lost note nor a second sync at the same time
    duplicates a run. A run that was deleted in MLflow is not sent again.

    Parameters
    ----------
    settings : Settings
    on_sent : callable, optional
        Called with the id of each run that was sent.

    Returns
    -------
    SyncSummary

    Raises
    ------
    UserError
        If MLflow cannot be reached to begin with.
    """
    summary = SyncSummary()
    records = RunStore(settings.runs).all()
    with connect(settings) as client:
        mlflow_runs = client.all_runs()
        missing = [record for record in records if record.run_id not in mlflow_runs]
        summary.notes = _explain_missing(client, missing)
    unreachable = ""  # the reason, once MLflow has stopped answering
    for listed in records:
        record = _refresh(listed)
        run_id, mlflow_run = record.run_id, mlflow_runs.get(record.run_id)
        if not record.folder.exists():  # removed since it was listed
            continue
        try:
            if reason := _reason_to_skip(record, mlflow_run):
                summary.skipped[run_id] = reason
            elif _is_complete(record, mlflow_run):
                summary.present.append(run_id)
            elif unreachable:
                summary.failed[run_id] = unreachable
            elif _send(record, settings):
                summary.sent.append(run_id)
                if on_sent:
                    on_sent(run_id)
            else:
                summary.present.append(run_id)
        except UserError as error:
            summary.failed[run_id] = str(error)
            if isinstance(error, TrackingUnreachable):
                unreachable = str(error)
    return summary


def _explain_missing(client: TrackingClient, missing: list[Record]) -> list[str]:
    """Say where the runs are that were in MLflow once: the experiment was renamed or replaced."""
    pages = [re.search(r"/runs/(\w+)", record.links.get("run", "")) for record in missing]
    # Name and state of the experiment; None if MLflow has no such run.
    places: Counter[tuple[str, str] | None] = Counter()
    for page in pages:
        if page:
            experiment = client.find_experiment_of(page[1])
            places[(experiment.name, experiment.lifecycle_stage) if experiment else None] += 1
    experiment_name = client.settings.experiment.name
    notes = []
    for place, count in places.items():
        if place is None:
            what = (
                f"MLflow no longer has; the experiment {experiment_name!r} or its database was "
                "replaced, or deleted for good"
            )
        elif place[1] == "active":
            what = (
                f"are in MLflow's experiment {place[0]!r}, which was perhaps renamed; to go on "
                f"there, give experiment.name: {place[0]} in mlflow.yaml"
            )
        else:
            what = f"are in MLflow's experiment {place[0]!r}, which was deleted"
        notes.append(f"{count} of the runs sent earlier {what}")
    return notes


def _refresh(listed: Record) -> Record:
    """Return the record of a run that may have finished since it was listed."""
    finished = listed.folder.with_name(listed.run_id)
    return Record(finished) if finished.exists() else listed


def _reason_to_skip(record: Record, mlflow_run: Any | None) -> str:
    if record.state == "running":
        return "still running"
    deleted = mlflow_run and mlflow_run.info.lifecycle_stage == "deleted"
    return "deleted in MLflow" if deleted else ""


def _is_complete(record: Record, mlflow_run: Any | None) -> bool:
    """Return whether MLflow has all of the run: its status is written last."""
    complete = {"FINISHED"} if record.finished else {"FAILED", "KILLED"}
    return mlflow_run is not None and mlflow_run.info.status in complete


def _send(record: Record, settings: Settings) -> bool:
    """Send a run; return False if another process has sent it in the meantime."""
    with connect(settings) as client, publish_lock(settings):
        if _is_complete(record, client.find_run(record.run_id)):
            return False
        if record.finished:
            verify(record)
            links = write_finished_run(client, record)
        else:
            reason = record.status.get("why", "its process was killed")
            killed = record.state == "stopped"
            write_failed_run(client, record, reason=reason, killed=killed)
    if record.finished:
        record.save_links(links.table, links.runs[record.run_id])
    return True
