"""`harness compare`: the table."""

from __future__ import annotations

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
    "--details",
    is_flag=True,
    help="Add exact intervals, errors by class, cost, the table at one view, runs and links.",
)
@click.option(
    "--published",
    is_flag=True,
    help="Add what others have published on the dataset, and how it differs.",
)
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@options.finished_runs
def command(
    runs: tuple[str, ...],
    details: bool,
    published: bool,
    markdown: bool,
    workspace: Workspace,
    **given: Any,
) -> None:
    """Compare finished runs image by image on one test split.

    A run is named by its pipeline's spec or by its id. The first is the reference.
    """
    from harness import api
    from harness.cli.missing import with_missing_runs
    from harness.comparison.table import comparison_markdown, comparison_text

    dataset, as_json = given["dataset"], given["as_json"]
    comparison = with_missing_runs(
        lambda: api.compare(
            *runs,
            dataset=dataset,
            allow_different_train=given["allow_different_train"],
            workspace=workspace,
        ),
        workspace,
        dataset=dataset,
        run_missing=given["run_missing"],
    )
    if markdown:
        click.echo(comparison_markdown(comparison))
    else:
        click.echo(comparison_text(comparison, details=details))
    literature = _print_published(comparison, markdown) if published else {}
    if details and not markdown:
        _print_links(workspace, comparison)
    if as_json:
        options.print_json({**comparison.to_dict(), **literature})


def _print_published(comparison: Any, markdown: bool) -> dict[str, Any]:
    """Print the published figures, and return them for --json."""
    from harness.comparison.literature import compare_with_literature
    from harness.report.literature import published_markdown, published_text

    literature = compare_with_literature(comparison)
    text = published_markdown(literature) if markdown else published_text(literature)
    click.echo(f"\n{text}")
    return {"published": literature.to_dict()}


def _print_links(workspace: Workspace, comparison: Any) -> None:
    """Print the links to MLflow that the records keep."""
    from harness.runs.run_store import RunStore
    from harness.tracking.links import compare_link

    store = RunStore(workspace.runs_folder)
    run_ids = [run_id for row in comparison.rows for run_id in row.run_ids]
    links = [store.find(run_id).links for run_id in run_ids]
    tables = [link["table"] for link in links if link]
    if tables:
        click.echo(f"MLflow: {tables[0]} (harness ui starts it)")
    if pages := compare_link([link.get("run", "") for link in links]):
        click.echo(f"side by side: {pages}")
