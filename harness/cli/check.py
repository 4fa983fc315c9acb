"""`harness check`: the conformance test."""

from __future__ import annotations

import click

from harness.cli import options


@click.command()
@click.argument("pipeline", metavar="SPEC", shell_complete=options.complete_pipeline)
@options.plugins
def command(pipeline: str, plugins: tuple[str, ...]) -> None:
    """Fit the pipeline on a few small images and test every promise of the contract, each named with its outcome."""
    from harness.engine.conformance import conformance

    failed = 0
    for name, why in conformance(pipeline, plugins=plugins):
        failed += why is not None
        click.echo(
            f"{'ok    ' if why is None else 'FAILED'}  {name}{'' if why is None else f': {why}'}"
        )
    if failed:
        raise click.exceptions.Exit(1)
