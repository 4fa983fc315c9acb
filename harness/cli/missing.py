"""Run what a command needs and is not yet on record."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from harness.cli import options
from harness.runs.result import Result

T = TypeVar("T")


def run_and_print(
    asked: dict[str, Any],
    *,
    config: Path | None,
    data_root: Path | None,
    device: str = "auto",
    dry_run: bool = False,
    resume: str | None = None,
    as_json: bool = False,
) -> Result | None:
    """Do the run that `asked` (arguments of request.resolve) describes and say so line by line.

    Its result; None after a dry run, and on every process but the first.
    """
    from harness.commands import as_flags
    from harness.engine.device import choose_device
    from harness.engine.request import resolve, resumable
    from harness.engine.runner import execute
    from harness.report.run_summary import request_lines

    choose_device(device)
    request = resolve(**asked, config=config, data_root=data_root)
    record = resumable(request, resume) if resume else None
    if dry_run:
        click.echo("\n".join(request_lines(request)))
        return None
    result = execute(request, device=device, resume=record, say=click.echo)
    if os.environ.get("RANK", "0") != "0":
        return None
    flags = as_flags(
        dataset=asked.get("dataset"),
        data_root=data_root,
        config=config,
        plugins=asked.get("plugins", ()),
    )
    click.echo(f"next       {_next_command(result, asked['pipeline'], flags)}")
    if as_json:
        names = (
            "run_id", "pipeline", "dataset", "n_test", "top1_error", "top5_error", "mean_class_error", "tune_top1_error", "fit_seconds",
            "score_seconds", "test_digest", "test_evaluations", "machine",
        )  # fmt: skip
        values = dataclasses.asdict(result)
        options.print_json({name: values[name] for name in names})
    return result


def with_missing_runs(
    ask: Callable[[], T],
    *,
    run_missing: bool,
    dataset: str | None,
    plugins: Sequence[str],
    config: Path | None,
    data_root: Path | None,
) -> T:
    """What `ask` returns; the runs that it finds missing are made first where `run_missing` allows it. Raises NoSuchRun where not."""
    from harness.runs.select import NoSuchRun

    while True:
        try:
            return ask()
        except NoSuchRun as missing:
            if not run_missing:
                raise
            run_and_print(
                {"pipeline": missing.spec, "dataset": dataset, "plugins": plugins},
                config=config,
                data_root=data_root,
            )
            click.echo("")


def _next_command(result: Any, pipeline: str, flags: str) -> str:
    if result.top1_error is None:
        return f"harness run --pipeline {shlex.quote(pipeline)}{flags}"
    if result.limit is not None or result.limit_test is not None:
        return "harness runs"
    if pipeline == "baseline":
        return f"harness run --pipeline alexnet{flags}"
    this = pipeline if pipeline == result.name else result.run_id
    return f"harness compare baseline {this}{flags} --run-missing"
