"""`harness report`: the comparison as a page, or its tables alone for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli import options

if TYPE_CHECKING:
    from harness.workspace import Workspace


@click.command()
@click.argument(
    "runs",
    nargs=-1,
    required=True,
    metavar="A B [C]...",
    shell_complete=options.complete_pipeline_or_run,
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="Ends in .html for the page, in .md, .csv or .tex for the tables alone.",
)
@click.option(
    "--neighbors",
    type=options.WholeNumber(0),
    metavar="N",
    help="Training images to search for nearest neighbors; 0: none.  [default: 5000]",
)
@click.option(
    "--no-pictures", is_flag=True, help="Leave out the test images, which need the dataset."
)
@options.device
@options.finished_runs
def command(
    runs: tuple[str, ...],
    output: Path,
    neighbors: int | None,
    no_pictures: bool,
    device: str,
    workspace: Workspace,
    **given: Any,
) -> None:
    """Write one page about runs, chosen as for compare.

    It holds the table, cost, curves, where the runs differ in pictures, and how to do it again.
    """
    from harness import api
    from harness.cli.missing import with_missing_runs
    from harness.render.text import size
    from harness.report.export import check_output

    check_output(output)
    comparison = with_missing_runs(
        lambda: api.write_report(
            *runs,
            output=output,
            dataset=given["dataset"],
            allow_different_train=given["allow_different_train"],
            pictures=not no_pictures,
            neighbors=neighbors,
            device=device,
            workspace=workspace,
        ),
        workspace,
        dataset=given["dataset"],
        run_missing=given["run_missing"],
    )
    for line in comparison.verdicts:
        click.echo(line)
    click.echo(f"report     {output.resolve()} ({size(output.stat().st_size)})")
    _attach(workspace, [run_id for row in comparison.rows for run_id in row.run_ids], output)
    if given["as_json"]:
        options.print_json({"file": str(output.resolve()), **comparison.to_dict()})


def _attach(workspace: Workspace, run_ids: list[str], file: Path) -> None:
    """Attach the report to its runs in MLflow; where that fails it is written all the same."""
    from harness.errors import UserError
    from harness.tracking.artifacts import attach_file

    try:
        links = attach_file(run_ids, file, workspace.settings)
        click.echo(f"MLflow     {links.compare or links.table}")
    except (UserError, OSError) as error:
        click.echo(f"MLflow     not attached: {error}")
