"""`harness run`: fit, score, log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli import options
from harness.cli.missing import run_and_print

if TYPE_CHECKING:
    pass


@click.command()
@click.option(
    "--pipeline",
    metavar="SPEC",
    shell_complete=options.complete_pipeline,
    help="NAME[,KEY=VALUE]...; see harness list.",
)
@options.dataset
@click.option(
    "--seed", type=click.IntRange(0), metavar="N", help="Of everything random.  [default: 0]"
)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    metavar="N",
    help="N runs, with the seeds 0 to N - 1; compare takes them together; --json: a line a run.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    help="At most N labeled images, class-balanced; the test split stays.",
)
@click.option(
    "--limit-test",
    type=click.IntRange(1),
    metavar="N",
    help="At most N test images; the run is marked as limited.",
)
@click.option(
    "--tune",
    type=click.IntRange(0),
    metavar="N",
    help="Images a class held out for tuning; 0: none. [default: 10 %]",
)
@click.option(
    "--no-test", is_flag=True, help="Stop after the tune error; the run never enters compare."
)
@click.option(
    "--budget",
    metavar="TIME",
    help="Such as 20m or 1h30m: as many epochs as fit, timed once beforehand and kept in the spec.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1.")
@click.option("--dry-run", is_flag=True, help="Stop after the resolved spec.")
@click.option(
    "--resume",
    is_flag=False,
    flag_value="latest",
    metavar="[RUN]",
    help="Go on with an unfinished run; default: the latest of this spec.",
)
@options.plugins
@options.config
@options.data_root
@options.as_json
def command(
    pipeline: str | None,
    dataset: str | None,
    seed: int | None,
    seeds: int | None,
    limit: int | None,
    limit_test: int | None,
    tune: int | None,
    no_test: bool,
    budget: str | None,
    device: str,
    dry_run: bool,
    resume: str | None,
    plugins: tuple[str, ...],
    config: Path | None,
    data_root: Path | None,
    as_json: bool,
) -> None:
    """Fit a pipeline on the train part of a dataset, score the test part, keep the record and log it to MLflow."""
    from harness.errors import UserError
    from harness.report.run_summary import seeds_line
    from harness.runs.run_store import RunStore, new_run_id
    from harness.settings import load_settings
    from harness.spec import parse_spec

    asked: dict[str, Any] = {
        "pipeline": pipeline, "dataset": dataset, "seed": seed or 0, "limit": limit, "limit_test": limit_test, "tune": tune, "test": not no_test,
        "plugins": plugins,
    }  # fmt: skip
    if seeds and (seed is not None or resume):
        raise UserError(
            f"--seeds {seeds} makes new runs with the seeds 0 to {seeds - 1}; leave out {'--resume' if resume else '--seed'}"
        )
    if resume and resume != "latest" and pipeline is None:
        from harness.engine.load import plugins_for

        record = RunStore(load_settings(config).runs).find(resume)
        if record.spec.kind == "ensemble":
            raise UserError(
                f"run {record.run_id} is an ensemble, which is made in one go: harness ensemble RUN RUN"
            )
        # What is given beside the run is held to what is on record, as it is where a pipeline is named.
        given = {
            "dataset": dataset,
            "seed": seed,
            "limit": limit,
            "limit_test": limit_test,
            "tune": tune,
            "test": False if no_test else None,
        }
        asked = {name: record.spec[name] for name in asked} | {
            name: value for name, value in given.items() if value is not None
        }
        asked["plugins"] = plugins_for(record, plugins)
    if asked["pipeline"] is None:
        from harness.registry import Registry

        raise UserError(
            f"say which pipeline: harness run --pipeline NAME; there are: {', '.join(Registry(plugins).names('pipeline'))}"
        )
    if budget:
        if resume:
            raise UserError(
                "--budget with --resume: an unfinished run keeps its number of epochs; resume it by its id (harness runs)"
            )
        asked["pipeline"] = _within(
            budget, asked, config=config, data_root=data_root, device=device
        )
    if seeds and seeds > 1:
        asked["parent"] = {
            "run_id": new_run_id(f"{parse_spec(asked['pipeline'])[0]}-seeds"),
            "seeds": seeds,
        }
    results = [
        run_and_print({**asked, "seed": each}, config=config, data_root=data_root, device=device, dry_run=dry_run, resume=resume, as_json=as_json)
        for each in (range(seeds) if seeds else [asked["seed"]])
    ]  # fmt: skip
    made = [result for result in results if result]
    if len(made) > 1 and not as_json:
        click.echo(seeds_line(made))


def _within(
    budget: str, asked: dict[str, Any], *, config: Path | None, data_root: Path | None, device: str
) -> str:
    """The pipeline spec with as many epochs as fit."""
    from harness.engine.device import choose_device
    from harness.engine.distributed import processes
    from harness.engine.estimate import seconds_of, within
    from harness.engine.runner import resolve

    seconds_of(budget)  # a mistake in it is told before the data are read
    with processes(choose_device(device)) as group:
        spec = within(resolve(**asked, config=config, data_root=data_root), budget, group)
    if os.environ.get("RANK", "0") == "0":
        click.echo(
            f"budget     {budget} is {spec.rpartition('epochs=')[2].partition(',')[0]} epochs here"
        )
    return spec
