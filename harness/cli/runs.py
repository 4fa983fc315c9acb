"""`harness runs`: what is on record."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from harness.cli import options


@click.group(invoke_without_command=True)
@options.config
@options.as_json
@click.pass_context
def command(ctx: click.Context, config: Path | None, as_json: bool) -> None:
    """All runs: id, pipeline, dataset, seed, status, top-1 error, age. A run whose process was killed is shown as dead."""
    ctx.obj = config
    if ctx.invoked_subcommand:
        return
    from harness.render.text import duration, percent, text_table
    from harness.runs.run_store import RunStore
    from harness.settings import load_settings

    runs = RunStore(load_settings(config).runs)
    rows: list[dict[str, Any]] = []
    for record in runs.all():
        with suppress(FileNotFoundError):
            row = _row(record)
            if record.folder.exists():  # else the run that it is of has renamed it meanwhile
                rows.append(row)
    if not rows:
        click.echo(f"no runs in {runs.folder} yet; make one with: harness run --pipeline hog-svm")
    else:
        lines = [
            [
                r["run_id"],
                r["pipeline"],
                r["dataset"],
                str(r["seed"]),
                r["status"],
                percent(r["top1_error"]),
                duration(r["age_seconds"]),
            ]
            for r in rows
        ]
        click.echo(
            text_table(
                ["run", "pipeline", "dataset", "seed", "status", "top-1 error", "age"],
                lines,
                left=5,
            )
        )
    if as_json:
        options.print_json(rows)


@command.command("rm")
@click.argument(
    "run_ids", nargs=-1, required=True, metavar="RUN...", shell_complete=options.complete_run
)
@click.pass_obj
def remove(config: Path | None, run_ids: tuple[str, ...]) -> None:
    """Delete runs from disk, scores and state with them. A run that still goes on is left alone."""
    import shutil

    from harness.errors import UserError
    from harness.runs.run_store import RunStore
    from harness.settings import load_settings

    runs = RunStore(load_settings(config).runs)
    records = {record.folder: record for record in map(runs.find, run_ids)}.values()
    for record in records:
        if not record.finished and record.state == "running":
            raise UserError(
                f"run {record.run_id} is still running (process {record.status.get('pid')}); stop it first"
            )
    for record in records:
        shutil.rmtree(record.folder)
        click.echo(f"removed {record.run_id}")


def _row(record: Any) -> dict[str, Any]:
    from harness.errors import UserError

    row = {
        "run_id": record.run_id,
        "pipeline": "?",
        "dataset": "?",
        "seed": "?",
        "top1_error": None,
        "age_seconds": record.age_seconds,
    }
    try:
        row["status"] = record.state
        if record.finished:
            result = record.result
            return row | {
                "pipeline": result.name,
                "dataset": result.title,
                "seed": result.seed,
                "top1_error": result.top1_error,
            }
        spec = record.spec
        return row | {
            "pipeline": spec.pipeline.partition(",")[0],
            "dataset": spec.title,
            "seed": spec.seed,
        }
    except (UserError, OSError, ValueError, KeyError):
        return row | {"status": "damaged"}
