"""`harness ensemble`: finished runs averaged into one."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli import options


@click.command()
@click.argument(
    "runs", nargs=-1, metavar="RUN RUN ...", shell_complete=options.complete_pipeline_or_run
)
@click.option(
    "--declared", metavar="NAME", help="The members of an ensemble in benchmarks/ensembles.toml."
)
@click.option(
    "--weights",
    type=click.Choice(["equal", "tune"]),
    default="equal",
    show_default=True,
    help="tune: those that make the tune split's labels likeliest.",
)
@options.of_finished_runs
def command(
    runs: tuple[str, ...],
    declared: str | None,
    weights: str,
    dataset: str | None,
    run_missing: bool,
    allow_different_train: bool,
    plugins: tuple[str, ...],
    config: Path | None,
    data_root: Path | None,
    as_json: bool,
) -> None:
    """Average the probabilities of finished runs, by run id or by pipeline spec (then every seed), from the scores on record.

    The result is a finished run: compare and MLflow show it.
    """
    import dataclasses
    import shlex

    from harness.cli.missing import with_missing_runs
    from harness.commands import as_flags
    from harness.engine.ensemble import declared as members_of
    from harness.engine.ensemble import ensemble

    members = [*runs, *(members_of(declared) if declared else [])]
    result = with_missing_runs(
        lambda: ensemble(
            *members,
            weights=weights,  # type: ignore[arg-type]
            dataset=dataset,
            allow_different_train=allow_different_train,
            config=config,
            data_root=data_root,
            plugins=plugins,
            say=click.echo,
        ),
        run_missing=run_missing,
        dataset=dataset,
        plugins=plugins,
        config=config,
        data_root=data_root,
    )
    flags = as_flags(dataset=dataset, data_root=data_root, config=config, plugins=plugins)
    allowed = " --allow-different-train" if allow_different_train else ""
    click.echo(
        f"next       harness compare {shlex.quote(members[0])} {result.run_id}{flags}{allowed}"
    )
    if as_json:
        names = (
            "run_id",
            "pipeline",
            "dataset",
            "n_test",
            "top1_error",
            "top5_error",
            "mean_class_error",
            "tune_top1_error",
        )
        values = dataclasses.asdict(result)
        options.print_json(
            {name: values[name] for name in (*names, "test_digest", "test_evaluations", "notes")}
        )
