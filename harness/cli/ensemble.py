"""`harness ensemble`: finished runs averaged into one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from harness.cli import options

if TYPE_CHECKING:
    from harness.workspace import Workspace

JSON_FIELDS = (
    "run_id", "pipeline", "dataset", "n_test", "top1_error", "top5_error", "mean_class_error",
    "tune_top1_error", "test_digest", "test_evaluations", "notes",
)  # fmt: skip


@click.command()
@click.argument(
    "runs", nargs=-1, metavar="RUN RUN ...", shell_complete=options.complete_pipeline_or_run
)
@click.option(
    "--declared",
    metavar="NAME",
    help="Add the members of an ensemble in benchmarks/ensembles.toml.",
)
@click.option(
    "--weights",
    type=click.Choice(["equal", "tune"]),
    default="equal",
    show_default=True,
    help="tune: the weights that make the labels of the tune split most likely.",
)
@options.finished_runs
def command(
    runs: tuple[str, ...],
    declared: str | None,
    weights: Any,
    workspace: Workspace,
    **given: Any,
) -> None:
    """Average the probabilities of finished runs, from the scores on record.

    A run is named by its id, or by its pipeline's spec, which stands for every seed. The result is
    a finished run, which compare and MLflow show.
    """
    from harness import api
    from harness.cli.missing import with_missing_runs
    from harness.commands import as_flags, harness_command
    from harness.engine.declared_ensembles import declared_members
    from harness.report.run_summary import Terminal

    dataset, allow_different_train = given["dataset"], given["allow_different_train"]
    members = [*runs, *(declared_members(declared) if declared else [])]
    result = with_missing_runs(
        lambda: api.ensemble(
            *members,
            weights=weights,
            dataset=dataset,
            allow_different_train=allow_different_train,
            observer=Terminal(click.echo),
            workspace=workspace,
        ),
        workspace,
        dataset=dataset,
        run_missing=given["run_missing"],
    )
    flags = as_flags(dataset=dataset) + workspace.flags
    flags += " --allow-different-train" if allow_different_train else ""
    click.echo(f"next       {harness_command('compare', members[0], result.run_id, flags=flags)}")
    if given["as_json"]:
        flat = result.to_flat_dict()
        options.print_json({name: flat[name] for name in JSON_FIELDS})
