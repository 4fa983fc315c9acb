"""`harness list`: the pipelines and datasets that can be run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli import options

if TYPE_CHECKING:
    from harness.registry import Entry
    from harness.workspace import Workspace


@click.command()
@click.option("--check", is_flag=True, help="Import each one and say what is wrong with it.")
@options.workspace("plugins")
@options.as_json
def command(check: bool, workspace: Workspace, as_json: bool) -> None:
    """List pipelines and datasets: name, family, origin and what they are.

    Their files are read, not imported.
    """
    from harness.render.table import Column, Table

    registry = workspace.registry
    pipelines = [registry.entries["pipeline"][name] for name in registry.names("pipeline")]
    datasets = [registry.entries["dataset"][name] for name in registry.names("dataset")]
    broken: dict[Entry, str] = {}
    for entry in [*pipelines, *datasets] if check else []:
        if reason := _why_broken(entry):
            broken[entry] = reason

    def summary(entry: Entry) -> str:
        return f"BROKEN: {broken[entry]}" if entry in broken else entry.summary

    rows = [[entry.name, entry.family, entry.origin, summary(entry)] for entry in pipelines]
    origin = Column("origin", "left", priority=1)
    description = Column("description", "left", free_text=True)
    head = [Column("pipeline", "left"), Column("family", "left"), origin, description]
    click.echo(Table(head, rows).to_text())
    rows = [[entry.name, entry.origin, summary(entry)] for entry in datasets]
    click.echo("\n" + Table([Column("dataset", "left"), origin, description], rows).to_text())
    if as_json:
        options.print_json(
            [
                {
                    "kind": entry.kind,
                    "name": entry.name,
                    "family": entry.family,
                    "origin": entry.origin,
                    "summary": entry.summary,
                    "broken": broken.get(entry),
                }
                for entry in [*pipelines, *datasets]
            ]
        )
    if broken:
        raise click.exceptions.Exit(1)


def _why_broken(entry: Entry) -> str | None:
    """Return why an entry cannot be used, or None."""
    from harness.errors import UserError
    from harness.spec import parameters

    try:
        parameters(entry.load().build)
    except UserError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None
