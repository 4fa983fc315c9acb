"""`harness check`: does a pipeline keep the contract?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli import options

if TYPE_CHECKING:
    from harness.workspace import Workspace


@click.command()
@click.argument("pipeline", metavar="SPEC", shell_complete=options.complete_pipeline)
@options.workspace("plugins")
def command(pipeline: str, workspace: Workspace) -> None:
    """Fit the pipeline on a few small images and test every promise of the contract."""
    from harness.engine.conformance import check_pipeline

    failed = 0
    for promise, reason in check_pipeline(workspace, pipeline):
        if reason is None:
            click.echo(f"ok      {promise}")
        else:
            failed += 1
            click.echo(f"FAILED  {promise}: {reason}")
    if failed:
        raise click.exceptions.Exit(1)
