"""Run a pipeline and print it, for `harness run` and for commands with --run-missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from harness.engine.request import Request
    from harness.runs.record import Record
    from harness.runs.result import Result
    from harness.workspace import Workspace

T = TypeVar("T")
JSON_FIELDS = (
    "run_id", "pipeline", "dataset", "n_test", "top1_error", "top5_error", "mean_class_error",
    "tune_top1_error", "fit_seconds", "score_seconds", "test_digest", "test_evaluations", "machine",
)  # fmt: skip


def run_and_print(
    request: Request,
    *,
    device: str = "auto",
    resume: Record | None = None,
    verbose: bool = False,
    dataset: str | None = None,
) -> Result | None:
    """Do a run, print it, and suggest what to do next.

    Parameters
    ----------
    dataset : str or None
        As the user gave it, for the suggested command.

    Returns
    -------
    Result or None
        None on every process but the first.
    """
    from harness import api
    from harness.engine.distributed import is_first_process
    from harness.report.run_summary import Terminal

    terminal = Terminal(click.echo, verbose=verbose)
    result = api.run_request(request, device=device, resume=resume, observer=terminal)
    if not is_first_process():
        return None
    click.echo(f"next       {_next_command(request, result, dataset)}")
    return result


def flat_json(result: Result) -> dict[str, Any]:
    """Return the figures of a result that `--json` prints."""
    flat = result.to_flat_dict()
    return {name: flat[name] for name in JSON_FIELDS}


def with_missing_runs(
    ask: Callable[[], T], workspace: Workspace, *, dataset: str | None, run_missing: bool
) -> T:
    """Return what `ask` returns, after running what it finds missing.

    Raises
    ------
    NoSuchRun
        If a run is missing and `run_missing` is False.
    """
    from harness.runs.select import NoSuchRun

    while True:
        try:
            return ask()
        except NoSuchRun as missing:
            if not run_missing:
                raise
            from harness.engine.request import resolve_request  # imports torch

            run_and_print(resolve_request(workspace, missing.spec, dataset), dataset=dataset)
            click.echo("")


def _next_command(request: Request, result: Result, dataset: str | None) -> str:
    from harness.commands import as_flags, harness_command

    flags = as_flags(dataset=dataset) + request.workspace.flags
    if result.top1_error is None:
        return harness_command("run", "--pipeline", result.label, flags=flags)
    if result.limit is not None or result.limit_test is not None:
        return harness_command("runs")
    if result.label == "baseline":
        return harness_command("run", "--pipeline", "alexnet", flags=flags)
    row = result.name if result.label == result.name else result.run_id
    return harness_command("compare", "baseline", row, "--run-missing", flags=flags)
