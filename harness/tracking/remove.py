"""Remove runs from MLflow whose records were removed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from harness.runs.run_store import RunStore
from harness.runs.spec import SeedGroup
from harness.settings import Settings
from harness.tracking.client import TrackingClient, connect, publish_lock
from harness.tracking.parent_run import PARENT_TAG, find_or_create_parent, update_parent


def remove_runs(removed: Mapping[str, SeedGroup | None], settings: Settings) -> list[str]:
    """Move runs to MLflow's deleted ones, and bring the parents of their seeds up to date.

    Parameters
    ----------
    removed : mapping of str to SeedGroup or None
        Run id to its group; their records are gone already.
    settings : Settings

    Returns
    -------
    list of str
        Ids of the runs that MLflow had.

    Raises
    ------
    UserError
        If MLflow cannot be reached, read or written.
    """
    file = settings.server.database_file
    if file and not file.exists():
        return []
    with connect(settings) as client, publish_lock(settings):
        found = [run_id for run_id in removed if client.delete_run(run_id)]
        for group in {group for group in removed.values() if group}:
            _refresh_parent(client, group)
    return found


def _refresh_parent(client: TrackingClient, group: SeedGroup) -> None:
    """Replace the parent by one without the removed runs; MLflow shows the mean of most seeds."""
    if not client.delete_run(group.run_id):
        return
    records = RunStore(client.settings.runs).readable()
    members = [record for record in records if record.spec.seed_group == group]
    parent_id = None
    for record in members:
        if run := client.find_run(record.run_id):
            started = datetime.fromtimestamp(run.info.start_time / 1000, UTC).isoformat()
            parent_id = find_or_create_parent(client, record, started)
            client.log(run.info.run_id, params={}, tags={PARENT_TAG: str(parent_id)})
    if parent_id:
        update_parent(client, parent_id, members[0])
