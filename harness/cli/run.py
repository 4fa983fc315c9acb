"""`harness run`: fit, score, log."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import click

from harness.cli import options


@click.command()
@click.option("--pipeline", metavar="SPEC", shell_complete=options.complete_pipeline, help="NAME[,KEY=VALUE]...; see harness list.")
@options.dataset
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--limit", type=click.IntRange(1), metavar="N", help="At most N labelled images, class-balanced; the test split stays."
)
@click.option("--limit-test", type=click.IntRange(1), metavar="N", help="At most N test images; the run is marked as limited.")
@click.option("--tune", type=click.IntRange(0), metavar="N", help="Images a class held out for tuning; 0: none. [default: 10 %]")
@click.option("--no-test", is_flag=True, help="Stop after the tune error; the run never enters compare.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps.")
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
    seed: int,
    limit: int | None,
    limit_test: int | None,
    tune: int | None,
    no_test: bool,
    device: str,
    dry_run: bool,
    resume: str | None,
    plugins: tuple[str, ...],
    config: Path | None,
    data_root: Path | None,
    as_json: bool,
) -> None:
    """Fit a pipeline on the train part of a data set, score the test part, keep the record and log it to MLflow."""
    from harness.contract import UserError
    from harness.record import Runs
    from harness.settings import load_settings

    asked: dict[str, Any] = {
        "pipeline": pipeline, "dataset": dataset, "seed": seed, "limit": limit, "limit_test": limit_test, "tune": tune, "test": not no_test,
        "plugins": plugins,
    }  # fmt: skip
    if resume and resume != "latest" and pipeline is None:
        spec = Runs(load_settings(config).runs).find(resume).spec
        asked = {name: spec[name] for name in asked}
    if asked["pipeline"] is None:
        from harness.registry import Registry

        raise UserError(
            f"say which pipeline: harness run --pipeline NAME; there are: {', '.join(Registry(plugins).names('pipeline'))}"
        )
    run_and_print(asked, config=config, data_root=data_root, device=device, dry_run=dry_run, resume=resume, as_json=as_json)


def run_and_print(
    asked: dict[str, Any],
    *,
    config: Path | None,
    data_root: Path | None,
    device: str = "auto",
    dry_run: bool = False,
    resume: str | None = None,
    as_json: bool = False,
) -> None:
    """Do the run that `asked` (arguments of runner.resolve) describes and say so line by line."""
    from harness.machine import choose_device
    from harness.report.tables import result_text
    from harness.runner import execute, resolve, resumable

    choose_device(device)
    first = os.environ.get("RANK", "0") == "0"
    log: list[str] = []

    def say(text: str) -> None:
        log.append(text)
        if first:
            click.echo(text)

    request = resolve(**asked, config=config, data_root=data_root)
    record = resumable(request, resume) if resume else None
    for line in _header(request, asked["dataset"]):
        say(line)
    if dry_run:
        return
    if record:
        say(f"resuming   {record.run_id}")
    result = execute(request, device=device, resume=record, say=say)
    if not first:
        return
    say(result_text(result))
    say(f"run        {result.run_id}")
    say(f"next       {_next_command(result, asked['dataset'])}")
    (request.settings.runs / result.run_id / "log.txt").write_text("\n".join(log) + "\n")
    if as_json:
        names = ("run_id", "pipeline", "dataset", "n_test", "top1_error", "top5_error", "mean_class_error", "tune_top1_error",
                 "fit_seconds", "score_seconds", "test_digest", "test_looks", "machine")  # fmt: skip
        values = dataclasses.asdict(result)
        options.print_json({name: values[name] for name in names})


def _header(request: Any, dataset: str | None) -> list[str]:
    """The resolved request, one fact a line."""
    from harness.progress import duration

    splits = request.splits
    chosen = "" if dataset or os.environ.get("HARNESS_DATASET") else " (the default; --dataset chooses another)"
    expected, basis = _expected(request)
    lines = [
        f"data set   {splits.spec}{chosen}",
        f"pipeline   {request.pipeline}",
        f"images     train {len(splits.train):,}, tune {len(splits.tune) if splits.tune else 0:,}, test {len(splits.test):,}; "
        f"{splits.train.classes} classes; test digest {splits.test.digest}",
    ]
    lines += [f"remark     {remark}" for remark in splits.remarks]
    if request.limit is not None or request.limit_test is not None:
        lines.append("limited    compare takes this run by its id only")
    lines.append(f"expected   {f'about {duration(expected)}, {basis}' if expected else basis}; seed {request.seed}")
    return lines


def _expected(request: Any) -> tuple[float | None, str]:
    """(seconds, on what grounds): as the last run of this spec, scaled by the number of images. No number without one."""
    from harness.record import Runs

    results = [r.result for r in Runs(request.settings.runs).finished() if r.state == "finished"]
    known = [r for r in results if r.pipeline == request.pipeline and r.title == request.splits.title and r.n_fit]
    if not known:
        return None, "no run of this pipeline on this data set to judge the time by; progress shows the time left"
    last = known[-1]
    fit = last.fit_seconds * len(request.splits.train) / last.n_train
    return fit + (last.score_seconds or 0.0) * len(request.splits.test) / last.n_test, f"as {last.run_id} took"


def _next_command(result: Any, dataset: str | None) -> str:
    data = f" --dataset {dataset}" if dataset else ""
    if result.top1_error is None:
        return f"harness run --pipeline {result.name}{data}"
    if result.limit is not None or result.limit_test is not None:
        return "harness runs"
    if result.name == "baseline":
        return f"harness run --pipeline alexnet{data}"
    return f"harness compare baseline {result.name}{data} --run-missing"
