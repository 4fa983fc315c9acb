"""Every record on disk brought to the store, once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from harness.errors import UserError
from harness.runs.record import Record
from harness.runs.run_store import RunStore
from harness.settings import Settings
from harness.tracking.client import (
    Unreachable,
    connection,
    everything,
    experiment_id,
    find,
    sending,
)
from harness.tracking.log_run import send, send_failure


@dataclass
class Synced:
    """Run ids. `left`: why they were passed over; `failed`: why they could not be sent."""

    sent: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def sync(settings: Settings, say: Callable[[str], None] = lambda line: None) -> Synced:
    """Send the finished and failed runs that the store lacks, or has in part only. `say` is told each that was sent.

    What the store has is asked of the store, so that neither a lost note nor a second `sync` beside this one makes a run twice. A run that
    somebody deleted there stays so. Raises UserError when the store cannot be reached to begin with.
    """
    with connection(settings) as client:
        known = everything(client, experiment_id(client, settings))
    done = Synced()
    gone = ""  # why the store cannot be reached any more
    for listed in RunStore(settings.runs).all():
        record = _as_it_is_now(listed)
        if not record.folder.exists():  # removed meanwhile
            continue
        run = known.get(record.run_id)
        try:
            if why := _passed_over(record, run):
                done.left[record.run_id] = why
            elif _complete(record, run):
                done.there.append(record.run_id)
            elif gone:
                done.failed[record.run_id] = gone
            elif _send(record, settings):
                done.sent.append(record.run_id)
                say(record.run_id)
            else:
                done.there.append(record.run_id)
        except UserError as error:
            done.failed[record.run_id] = str(error)
            gone = str(error) if isinstance(error, Unreachable) else ""
    return done


def _as_it_is_now(listed: Record) -> Record:
    """One that was not finished may be by the time that its turn comes."""
    finished = listed.folder.with_name(listed.run_id)
    return Record(finished) if finished.exists() else listed


def _passed_over(record: Record, run: Any | None) -> str:
    if record.state == "running":
        return "still running"
    return "deleted in MLflow" if run and run.info.lifecycle_stage == "deleted" else ""


def _complete(record: Record, run: Any | None) -> bool:
    """Whether the store has all of it: its status is written last."""
    return run is not None and run.info.status in (
        {"FINISHED"} if record.finished else {"FAILED", "KILLED"}
    )


def _send(record: Record, settings: Settings) -> bool:
    """False where another process has sent it in the meantime."""
    with connection(settings) as client, sending(settings):
        if _complete(record, find(client, experiment_id(client, settings), record.run_id)):
            return False
        if record.finished:
            links = send(client, settings, record.result, record.folder)
        else:
            why = record.status.get("why", "its process was killed")
            send_failure(client, settings, record, reason=why, killed=record.state == "stopped")
    if record.finished:
        record.save_links(links.table, links.runs[record.run_id])
    return True
