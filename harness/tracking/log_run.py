"""A run's record, written to MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import __version__
from harness.runs.record import PICTURES, Record
from harness.runs.result import Result
from harness.settings import Settings
from harness.spec import parse_spec
from harness.tracking.client import (
    connection,
    experiment_id,
    find,
    find_or_create,
    log,
    milliseconds,
    sending,
    upload,
)
from harness.tracking.contents import dataset_inputs, describe, metrics, params, tags
from harness.tracking.links import Links, addresses, page
from harness.tracking.parent_run import PARENT_TAG, parent_of, update_parent

ARTIFACTS = ("result.json", "spec.json", "log.txt", "scores.npz")
ARTIFACT_BYTES = 50 * 2**20  # larger files stay in the run folder


def track(result: Result, folder: Path, settings: Settings) -> Links:
    """Write a finished run to MLflow: parameters, metrics, curves, datasets, description and the files of its folder.

    Raises UserError when the store cannot be reached, read or written.
    """
    with connection(settings) as client, sending(settings):
        return send(client, settings, result, folder)


def send(client: Any, settings: Settings, result: Result, folder: Path) -> Links:
    """As `track`. That the run is FINISHED there is said last, and so means that all of it is."""
    experiment = experiment_id(client, settings)
    run = find_or_create(client, settings, result.run_id, result.started)
    try:
        members = _members(client, experiment, folder)
        shown = {
            **settings.run.tags,
            **tags(result),
            "mlflow.note.content": describe(result, members),
        }
        if members:
            shown["members"] = " ".join(members)
        parent = parent_of(client, settings, folder, result.started)
        if parent:
            shown[PARENT_TAG] = parent
        log(client, run, params=params(result), metrics=metrics(result), tags=shown)
        client.log_inputs(run, dataset_inputs(result))
        for name in ARTIFACTS:
            if (folder / name).is_file() and (folder / name).stat().st_size < ARTIFACT_BYTES:
                upload(client, run, folder / name)
        for picture in sorted((folder / PICTURES).glob("*.png")):
            upload(client, run, picture, PICTURES)
        if parent:
            update_parent(client, experiment, parent, folder)
        client.set_terminated(run, "FINISHED", milliseconds(result.finished))
    except BaseException:
        with suppress(Exception):
            client.set_terminated(run, "FAILED")
        raise
    return addresses(settings, experiment, {result.run_id: run})


def _members(client: Any, experiment: str, folder: Path) -> Mapping[str, str | None]:
    """Of an ensemble: each member's id -> its page; None where it is not in the store."""
    found = {run_id: find(client, experiment, run_id) for run_id in Record(folder).spec.members}
    return {
        run_id: page(experiment, run.info.run_id) if run else None for run_id, run in found.items()
    }


def track_failure(
    record: Record, settings: Settings, *, reason: str, killed: bool = False
) -> Links:
    """Write a run that did not finish: FAILED, or KILLED by Ctrl-C. It gets no metrics, so no table of results shows it.

    reason  one line, such as the error's message
    Raises UserError as `track` does.
    """
    with connection(settings) as client, sending(settings):
        return send_failure(client, settings, record, reason=reason, killed=killed)


def send_failure(
    client: Any, settings: Settings, record: Record, *, reason: str, killed: bool
) -> Links:
    """As `track_failure`; the status, again, is said last."""
    spec = record.spec
    name = parse_spec(spec.pipeline)[0]
    shown = {
        "pipeline": name,
        "dataset": parse_spec(spec.dataset)[0],
        "harness.version": __version__,
        "mlflow.note.content": f"**{name}** did not finish: {reason}",
    }
    started = record.status.get("started") or datetime.now(UTC).isoformat()
    experiment = experiment_id(client, settings)
    run = find_or_create(client, settings, record.run_id, started)
    if parent := parent_of(client, settings, record.folder, started):
        shown[PARENT_TAG] = parent
    log(
        client,
        run,
        params={key: str(getattr(spec, key)) for key in ("pipeline", "dataset", "seed")},
        tags={**settings.run.tags, **shown},
    )
    if (record.folder / "log.txt").is_file():
        upload(client, run, record.folder / "log.txt")
    if parent:
        update_parent(client, experiment, parent, record.folder)
    client.set_terminated(run, "KILLED" if killed else "FAILED")
    return addresses(settings, experiment, {record.run_id: run})
