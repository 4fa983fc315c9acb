"""`harness run`: fit, score, log."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from harness.cli import options

if TYPE_CHECKING:
    from harness.engine.request import Request, RunOptions
    from harness.runs.record import Record
    from harness.workspace import Workspace

LATEST = "latest"


@dataclass(frozen=True)
class _Arguments:
    """What the user gave; None where nothing was given."""

    pipeline: str | None
    dataset: str | None
    seed: int | None
    seeds: int | None
    limit: int | None
    limit_test: int | None
    tune: int | None
    no_test: bool
    budget: str | None
    device: str
    dry_run: bool
    resume: str | None
    verbose: bool
    as_json: bool

    def run_options(self) -> RunOptions:
        from harness.engine.request import RunOptions

        return RunOptions(
            seed=self.seed or 0,
            tune=self.tune,
            limit=self.limit,
            limit_test=self.limit_test,
            test=not self.no_test,
        )


@click.command()
@click.option(
    "--pipeline",
    metavar="SPEC",
    shell_complete=options.complete_pipeline,
    help="NAME[,KEY=VALUE]...; see harness list.",
)
@options.dataset
@click.option(
    "--seed",
    type=options.WholeNumber(0),
    metavar="N",
    help="Seed for all random numbers.  [default: 0]",
)
@click.option(
    "--seeds",
    type=options.WholeNumber(1),
    metavar="N",
    help="N runs with the seeds 0 to N - 1, which compare averages.",
)
@click.option(
    "--limit",
    type=options.WholeNumber(1),
    metavar="N",
    help="Use at most N labeled images, balanced over the classes.",
)
@click.option(
    "--limit-test",
    type=options.WholeNumber(1),
    metavar="N",
    help="Use at most N test images; the run is marked as limited.",
)
@click.option(
    "--tune",
    type=options.WholeNumber(0),
    metavar="N",
    help="Images per class held out for tuning; 0: none.  [default: 10 % of each class, or the "
    "dataset's own number]",
)
@click.option(
    "--no-test", is_flag=True, help="Stop after the tune error; compare never uses the run."
)
@click.option(
    "--budget",
    metavar="TIME",
    help="Train for as many epochs as fit into 20m, 1h30m, ...; the spec keeps the number.",
)
@options.device
@click.option("--dry-run", is_flag=True, help="Print what would be run, and stop.")
@click.option(
    "--resume",
    is_flag=False,
    flag_value=LATEST,
    metavar="[RUN]",
    help="Continue an unfinished run.  [default: the latest of --pipeline and --dataset]",
)
@options.verbose
@options.workspace()
@options.as_json
def command(workspace: Workspace, **given: Any) -> None:
    """Fit a pipeline on the train part of a dataset and score the test part.

    The record stays in runs/ and is logged to MLflow.
    """
    arguments = _Arguments(**given)
    _require_consistent(workspace, arguments)
    if arguments.budget:
        arguments = replace(arguments, pipeline=_within_budget(workspace, arguments))
    if arguments.seeds:
        _run_seeds(workspace, arguments)
        return
    request, record = _look_up(workspace, arguments)
    _run_one(request, record, arguments)


def _require_consistent(workspace: Workspace, arguments: _Arguments) -> None:
    """Raise UserError for options that exclude each other, and without a pipeline or device."""
    from harness.commands import harness_command
    from harness.engine.device import choose_device
    from harness.engine.rendezvous import copies_note, read_launch
    from harness.errors import UserError

    resume = arguments.resume
    if arguments.seeds and (arguments.seed is not None or resume):
        raise UserError(
            f"--seeds {arguments.seeds} makes new runs with the seeds 0 to {arguments.seeds - 1}; "
            f"leave out {'--resume' if resume else '--seed'}"
        )
    if arguments.budget and resume:
        raise UserError(
            "--budget with --resume: an unfinished run keeps its number of epochs; "
            f"resume it by its id ({harness_command('runs')})"
        )
    if arguments.pipeline is None and resume in (None, LATEST):
        names = ", ".join(workspace.registry.names("pipeline"))
        what = "run to resume, --resume RUN, or its pipeline" if resume else "pipeline"
        raise UserError(f"name a {what}: harness run --pipeline NAME; available: {names}")
    choose_device(arguments.device)
    read_launch()  # a mistake in the variables is reported before the data are read
    if note := copies_note():
        click.echo(f"note       {note}", err=True)


def _look_up(workspace: Workspace, arguments: _Arguments) -> tuple[Request, Record | None]:
    """Return the request, and the record to resume if that was asked for."""
    from harness.engine.request import find_unfinished, resolve_request, resume_request
    from harness.runs.run_store import RunStore

    resume = arguments.resume
    if resume and resume != LATEST and arguments.pipeline is None:
        request = resume_request(
            workspace,
            RunStore(workspace.runs_folder).find(resume),
            dataset=arguments.dataset,
            seed=arguments.seed,
            limit=arguments.limit,
            limit_test=arguments.limit_test,
            tune=arguments.tune,
            test=False if arguments.no_test else None,
        )
    else:
        assert arguments.pipeline is not None
        request = resolve_request(
            workspace, arguments.pipeline, arguments.dataset, arguments.run_options()
        )
    return request, find_unfinished(request, resume) if resume else None


def _run_one(request: Request, record: Record | None, arguments: _Arguments) -> Any:
    """Run, or with --dry-run only print the request; return the result of the first process."""
    from harness.cli.missing import flat_json, run_and_print
    from harness.engine.estimate import expected_time
    from harness.render.text import printable
    from harness.report.run_summary import request_lines

    if arguments.dry_run:
        expected = expected_time(request)
        lines = request_lines(request, expected, verbose=arguments.verbose)
        click.echo("\n".join(map(printable, lines)))
        if arguments.as_json:
            options.print_json({**_json(request), "expected": expected})
        return None
    result = run_and_print(
        request,
        device=arguments.device,
        resume=record,
        verbose=arguments.verbose,
        dataset=arguments.dataset,
    )
    if result and arguments.as_json:
        options.print_json(flat_json(result))
    return result


def _json(request: Request) -> dict[str, Any]:
    """Return what --json prints of a run that is not done."""
    spec, splits = request.spec, request.splits
    return {
        **spec.identifying,
        "classes": splits.train.num_classes,
        "n_train": len(splits.train),
        "n_tune": len(splits.tune) if splits.tune else 0,
        "n_test": len(splits.test),
    }


def _run_seeds(workspace: Workspace, arguments: _Arguments) -> None:
    from harness.engine.request import resolve_request
    from harness.report.run_summary import seeds_line
    from harness.runs.run_store import new_run_id
    from harness.runs.spec import SeedGroup
    from harness.spec import parse_spec

    assert arguments.pipeline is not None
    assert arguments.seeds is not None
    name, _ = parse_spec(arguments.pipeline)
    group = None
    if arguments.seeds > 1:
        group = SeedGroup(new_run_id(f"{name}-seeds"), arguments.seeds)
    results = []
    for seed in range(arguments.seeds):
        run_options = replace(arguments.run_options(), seed=seed, seed_group=group)
        request = resolve_request(workspace, arguments.pipeline, arguments.dataset, run_options)
        results.append(_run_one(request, None, arguments))
    finished = [result for result in results if result]
    if len(finished) > 1 and not arguments.as_json:
        click.echo(seeds_line(finished))


def _within_budget(workspace: Workspace, arguments: _Arguments) -> str:
    """Return the pipeline spec with as many epochs as fit into the budget."""
    from harness.engine.budget import epochs_within, parse_budget, with_epochs
    from harness.engine.device import choose_device
    from harness.engine.distributed import is_first_process, join_processes
    from harness.engine.observer import RunObserver
    from harness.engine.request import resolve_request
    from harness.report.run_summary import ProgressDisplay

    assert arguments.pipeline is not None
    assert arguments.budget is not None
    parse_budget(arguments.budget)  # a mistake in it is reported before the data are read
    with join_processes(choose_device(arguments.device)) as processes:
        request = resolve_request(
            workspace, arguments.pipeline, arguments.dataset, arguments.run_options()
        )
        observer = ProgressDisplay() if processes.first else RunObserver()
        epochs = epochs_within(request, arguments.budget, processes, observer)
    if is_first_process():
        click.echo(f"budget     {arguments.budget} is {epochs} epochs here")
    return with_epochs(request.spec.pipeline, epochs)
