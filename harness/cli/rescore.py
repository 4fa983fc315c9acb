"""`harness rescore`: a finished run's weights at another number of views."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli import options


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
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1.")
@options.plugins
@options.config
@options.data_root
def command(
    runs: tuple[str, ...],
    views: int,
    device: str,
    plugins: tuple[str, ...],
    config: Path | None,
    data_root: Path | None,
) -> None:
    """Score finished runs again, without training: at one view of each test image, or at as many as --views says.

    Each becomes a finished run of its own, which compare takes for its table at one view and one model each.
    """
    from harness.engine.rescore import rescore

    for run in runs:
        rescore(
            run,
            views,
            device=device,
            plugins=plugins,
            config=config,
            data_root=data_root,
            say=click.echo,
        )
