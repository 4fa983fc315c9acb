"""`harness rescore`: a finished run's weights at another number of views."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli import options

if TYPE_CHECKING:
    from harness.workspace import Workspace


@click.command()
@click.argument(
    "runs", nargs=-1, required=True, metavar="RUN...", shell_complete=options.complete_run
)
@click.option(
    "--views",
    default=1,
    show_default=True,
    help="Crops of each test image whose scores are averaged.",
)
@options.device
@options.workspace()
def command(runs: tuple[str, ...], views: int, device: str, workspace: Workspace) -> None:
    """Score finished runs again, without training, at one view of each test image or at --views.

    Each becomes a finished run of its own, which compare uses for its table at one view.
    """
    from harness import api
    from harness.report.run_summary import Terminal

    for run in runs:
        observer = Terminal(click.echo)
        api.rescore(run, views, device=device, observer=observer, workspace=workspace)
