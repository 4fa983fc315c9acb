"""`harness report`: the table and what stands behind it, as a page; or the table alone for a paper."""

from __future__ import annotations

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
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="Its ending says what is written: .html the page; .md, .csv or .tex its tables.",
)
@click.option(
    "--neighbors",
    type=click.IntRange(0),
    metavar="N",
    help="Training images to look for neighbors in; 0: none. [default: 5000]",
)
@click.option(
    "--no-pictures", is_flag=True, help="Leave out the test images, which need the dataset."
)
@click.option(
    "--device", default="auto", show_default=True, help="Of the neighbors: auto, cpu, cuda, cuda:1."
)
@options.of_finished_runs
def command(
    runs: tuple[str, ...],
    dataset: str | None,
    output: Path,
    neighbors: int | None,
    no_pictures: bool,
    device: str,
    run_missing: bool,
    allow_different_train: bool,
    plugins: tuple[str, ...],
    config: Path | None,
    data_root: Path | None,
    as_json: bool,
) -> None:
    """One page about runs, chosen as for compare: the table, cost, curves, where they differ in pictures, protocol, how to do it again."""
    from harness.cli.missing import with_missing_runs
    from harness.render.text import size
    from harness.report.export import check_output, write_report
    from harness.report.verdict import verdicts
    from harness.runs.select import find_groups

    check_output(output)
    groups = with_missing_runs(
        lambda: find_groups(
            *runs, dataset=dataset, config=config, data_root=data_root, plugins=plugins
        ),
        run_missing=run_missing,
        dataset=dataset,
        plugins=plugins,
        config=config,
        data_root=data_root,
    )
    comparison = write_report(
        output,
        groups,
        allow_different_train=allow_different_train,
        pictures=not no_pictures,
        searched=neighbors,
        device=device,
        data_root=data_root,
        plugins=plugins,
    )
    for line in verdicts(comparison):
        click.echo(line)
    click.echo(f"report     {output.resolve()} ({size(output.stat().st_size)})")
    _attach([run_id for row in comparison.rows for run_id in row.run_ids], output, config)
    if as_json:
        options.print_json({"file": str(output.resolve()), **comparison.to_dict()})


def _attach(run_ids: list[str], file: Path, config: Path | None) -> None:
    """Beside the runs in MLflow; a report is no less written where that cannot be."""
    from harness.errors import UserError
    from harness.settings import load_settings
    from harness.tracking.artifacts import attach

    try:
        links = attach(run_ids, file, load_settings(config))
        click.echo(f"MLflow     {links.compare or links.table}")
    except (UserError, OSError) as error:
        click.echo(f"MLflow     not attached: {error}")
