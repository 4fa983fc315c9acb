"""`harness sync`: send runs that MLflow lacks."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

import click

from harness.cli import options

if TYPE_CHECKING:
    from harness.workspace import Workspace


@click.command()
@options.workspace("config")
@options.as_json
def command(workspace: Workspace, as_json: bool) -> None:
    """Send the runs on record that MLflow lacks or has only in part, each of them once.

    These are the runs that ended while MLflow could not be reached.
    """
    from harness.tracking.sync import sync_runs

    summary = sync_runs(
        workspace.settings, on_sent=lambda run_id: click.echo(f"sent       {run_id}")
    )
    for note in summary.notes:
        click.echo(f"note       {note}")
    for run_id, reason in summary.skipped.items():
        click.echo(f"skipped    {run_id}: {reason}")
    for run_id, reason in summary.failed.items():
        click.echo(f"not sent   {run_id}: {reason}")
    click.echo(
        f"{len(summary.sent)} sent, {len(summary.present)} already in MLflow, "
        f"{len(summary.skipped)} skipped, {len(summary.failed)} not sent"
    )
    if as_json:
        options.print_json(dataclasses.asdict(summary))
    if summary.failed:
        sys.exit(1)
