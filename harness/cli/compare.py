"""`harness compare`: the table."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from harness.cli import options


@click.command()
@click.argument(
    "runs",
    nargs=-1,
    required=True,
    metavar="A B [C]...",
    shell_complete=options.complete_pipeline_or_run,
)
@click.option(
    "--published",
    is_flag=True,
    help="Below the table: what others have published on that dataset, and how it differs.",
)
@click.option("--markdown", is_flag=True, help="Print the table as Markdown.")
@options.of_finished_runs
def command(
    runs: tuple[str, ...],
    dataset: str | None,
    run_missing: bool,
    allow_different_train: bool,
    published: bool,
    markdown: bool,
    plugins: tuple[str, ...],
    config: Path | None,
    data_root: Path | None,
    as_json: bool,
) -> None:
    """Compare finished runs, by pipeline spec or run id, image by image on one test split. The first is the reference."""
    from harness.cli.missing import with_missing_runs
    from harness.comparison.compare import compare
    from harness.comparison.table import comparison_markdown

    comparison = with_missing_runs(
        lambda: compare(
            *runs,
            dataset=dataset,
            allow_different_train=allow_different_train,
            config=config,
            data_root=data_root,
            plugins=plugins,
        ),
        run_missing=run_missing,
        dataset=dataset,
        plugins=plugins,
        config=config,
        data_root=data_root,
    )
    click.echo(comparison_markdown(comparison) if markdown else str(comparison))
    beside = None
    if published:
        from harness.comparison.literature import beside_published
        from harness.report.literature import published_markdown, published_text

        beside = beside_published(comparison)
        click.echo("\n" + (published_markdown(beside) if markdown else published_text(beside)))
    if comparison.link and not markdown:
        click.echo(f"MLflow: {comparison.link} (harness ui starts it)")
        if comparison.runs_link:
            click.echo(f"side by side: {comparison.runs_link}")
    if as_json:
        options.print_json(
            {
                **comparison.to_dict(),
                **({"published": dataclasses.asdict(beside)} if beside else {}),
            }
        )
