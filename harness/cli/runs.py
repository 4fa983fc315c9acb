"""`harness runs`: what is on record."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from harness.cli import options

if TYPE_CHECKING:
    from harness.runs.record import Record
    from harness.runs.spec import SeedGroup
    from harness.workspace import Workspace


@click.group(invoke_without_command=True)
@options.workspace("config")
@options.as_json
@click.pass_context
def command(ctx: click.Context, workspace: Workspace, as_json: bool) -> None:
    """List all runs with their state; a run whose process was killed is shown as dead."""
    ctx.obj = workspace
    if ctx.invoked_subcommand:
        return
    from harness.runs.run_store import RunStore

    store = RunStore(workspace.runs_folder)
    rows: list[dict[str, Any]] = []
    for record in store.all():
        with suppress(FileNotFoundError):
            row = _row(record)
            if record.folder.exists():  # else its run has renamed it in the meantime
                rows.append(row)
    if rows:
        _print_table(rows)
        for row in rows:
            if row["reason"]:
                click.echo(row["reason"])
    else:
        click.echo(f"no runs in {store.folder} yet; make one with: harness run --pipeline hog-svm")
    if as_json:
        options.print_json(rows)


@command.command("rm")
@click.argument(
    "run_ids", nargs=-1, required=True, metavar="RUN...", shell_complete=options.complete_run
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def remove(workspace: Workspace, run_ids: tuple[str, ...], yes: bool) -> None:
    """Delete runs with their scores and weights, here and in MLflow, after asking.

    A run that is still running is not touched. The answer is read from standard input; without one
    nothing is removed.
    """
    import shutil

    from harness.errors import UserError
    from harness.runs.run_store import RunStore

    store = RunStore(workspace.runs_folder)
    records = {record.folder: record for record in map(store.find, run_ids)}.values()
    for record in records:
        if not record.finished and record.state == "running":
            pid = record.status.get("pid")
            raise UserError(f"run {record.run_id} is still running (process {pid}); stop it first")
    names = [record.run_id for record in records]
    if not yes:
        _require_consent(names)
    groups = {record.run_id: _seed_group(record) for record in records}
    for record in records:
        shutil.rmtree(record.folder)
        click.echo(f"removed {record.run_id}")
    _remove_from_mlflow(groups, workspace)


def _require_consent(names: list[str]) -> None:
    from harness.errors import UserError

    count = f"{names[0]}" if len(names) == 1 else f"{len(names)} runs ({', '.join(names)})"
    try:
        agreed = click.confirm(f"remove {count} for good, with scores and weights?", err=True)
    except click.Abort as error:
        raise UserError(
            "nothing was removed, since nobody answered; to remove without a question, give --yes"
        ) from error
    if not agreed:
        click.echo("nothing was removed", err=True)
        raise click.exceptions.Exit(1)


def _seed_group(record: Record) -> SeedGroup | None:
    from harness.errors import UserError

    try:
        return record.spec.seed_group
    except UserError:  # a damaged run can be removed, too
        return None


def _remove_from_mlflow(groups: dict[str, SeedGroup | None], workspace: Workspace) -> None:
    from harness.errors import UserError
    from harness.tracking.remove import remove_runs

    try:
        removed = remove_runs(groups, workspace.settings)
    except (UserError, OSError) as error:
        click.echo(f"MLflow keeps what it has of {', '.join(groups)}: {error}", err=True)
        return
    if removed:
        click.echo(f"removed from MLflow: {', '.join(removed)} (`mlflow gc` frees the disk)")


def _print_table(rows: list[dict[str, Any]]) -> None:
    from harness.render.table import Column, Table
    from harness.render.text import duration, percent

    head = [
        Column("run", "left"),
        Column("pipeline", "left", priority=2),
        Column("dataset", "left", priority=1),
        Column("seed", priority=3),
        Column("state", "left"),
        Column("top-1 error"),
        Column("age", priority=4),
    ]
    cells = [
        [
            row["run_id"],
            row["pipeline"],
            row["dataset"],
            str(row["seed"]),
            row["status"],
            percent(row["top1_error"]),
            duration(row["age_seconds"]),
        ]
        for row in rows
    ]
    click.echo(Table(head, cells).to_text())


def _row(record: Record) -> dict[str, Any]:
    from harness.errors import MisplacedRecord, UserError

    row: dict[str, Any] = {
        "run_id": record.run_id,
        "pipeline": "?",
        "dataset": "?",
        "seed": "?",
        "top1_error": None,
        "age_seconds": record.age_seconds,
        "reason": None,
    }
    try:
        record.check()
        row["status"] = record.state
        spec = record.spec
        row |= {"dataset": spec.title, "seed": spec.seed}
        row["pipeline"] = spec.pipeline.partition(",")[0]
        if record.finished and record.result.top1_error:
            row["top1_error"] = record.result.top1_error.value
    except MisplacedRecord as error:
        row |= {"status": "renamed or copied", "reason": str(error)}
    except UserError as error:
        row |= {"status": "damaged", "reason": str(error)}
    return row
