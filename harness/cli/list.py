"""`harness list`: what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli import options

if TYPE_CHECKING:
    from harness.workspace import Workspace


@click.command()
@click.option("--check", is_flag=True, help="Import each one and say why a broken one is broken.")
@options.workspace("plugins")
@options.as_json
def command(check: bool, workspace: Workspace, as_json: bool) -> None:
    """Pipelines and datasets: name, family, origin and what it is. Reads their files without importing them."""
    from harness.registry import Entry
    from harness.render.text import text_table

    registry = workspace.registry
    pipelines = [registry.entries["pipeline"][name] for name in registry.names("pipeline")]
    datasets = [registry.entries["dataset"][name] for name in registry.names("dataset")]
    broken = {
        entry: why for entry in [*pipelines, *datasets] if check and (why := _why_broken(entry))
    }

    def last(entry: Entry) -> str:
        return f"BROKEN: {broken[entry]}" if entry in broken else entry.summary

    click.echo(
        text_table(
            ["pipeline", "family", "origin", ""],
            [[e.name, e.family, e.origin, last(e)] for e in pipelines],
            left=4,
        )
    )
    click.echo("")
    click.echo(
        text_table(
            ["dataset", "origin", ""], [[e.name, e.origin, last(e)] for e in datasets], left=3
        )
    )
    if as_json:
        options.print_json(
            [
                {
                    "kind": e.kind,
                    "name": e.name,
                    "family": e.family,
                    "origin": e.origin,
                    "summary": e.summary,
                    "broken": broken.get(e),
                }
                for e in [*pipelines, *datasets]
            ]
        )
    if broken:
        raise click.exceptions.Exit(1)


def _why_broken(entry: object) -> str | None:
    from harness.errors import UserError
    from harness.registry import Entry
    from harness.spec import parameters

    assert isinstance(entry, Entry)
    try:
        parameters(entry.load().build)
    except UserError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None
