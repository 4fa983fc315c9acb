"""`harness sync`: what MLflow has not got yet."""

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
    """Send the runs on record that MLflow lacks, or has in part only: those made while it could not be reached. Each once."""
    from harness.tracking.sync import sync

    settings = workspace.settings
    done = sync(settings, say=lambda run_id: click.echo(f"sent       {run_id}"))
    for run_id, why in done.left.items():
        click.echo(f"left       {run_id}: {why}")
    for run_id, why in done.failed.items():
        click.echo(f"not sent   {run_id}: {why}")
    click.echo(
        f"{len(done.sent)} sent, {len(done.there)} already there, {len(done.left)} left, {len(done.failed)} not sent"
    )
    if as_json:
        options.print_json(dataclasses.asdict(done))
    if done.failed:
        sys.exit(1)
