"""The runs of a study: finished ones are read, unfinished ones resumed, missing ones done."""

from __future__ import annotations

from functools import partial

from harness.api import run_request
from harness.contract import Pipeline, Plannable, Probe
from harness.data.load import DatasetSource
from harness.engine.device import choose_device
from harness.engine.distributed import join_processes
from harness.engine.estimate import probe_fit
from harness.engine.observer import RunObserver
from harness.engine.request import Request, RunOptions, find_unfinished, resolve_request
from harness.errors import UserError
from harness.report.run_summary import Terminal
from harness.runs.record import Record
from harness.runs.result import Result
from harness.runs.run_store import RunStore
from harness.workspace import Workspace


def study_request(
    workspace: Workspace,
    pipeline: str | Pipeline,
    dataset: DatasetSource,
    *,
    seed: int = 0,
    tune: int | None = None,
) -> Request:
    """Return the request for one run of a study.

    Parameters
    ----------
    tune : int, optional
        Images per class to hold out; 0: none; None: the dataset's own number.

    Raises
    ------
    UserError
        If a spec is wrong or the dataset cannot be loaded.
    """
    return resolve_request(workspace, pipeline, dataset, RunOptions(seed=seed, tune=tune))


def finished_run(request: Request, *, any_source: bool = False) -> Record | None:
    """Return the latest finished and tested run of the same identity, if there is one.

    Parameters
    ----------
    any_source : bool
        Accept runs from before a change to the pipeline's source.
    """
    wanted = request.spec.identifying
    if any_source:
        del wanted["source_hash"]
    for record in reversed(RunStore(request.workspace.runs_folder).finished()):
        identifying = record.spec.identifying
        if record.state == "finished" and wanted.items() <= identifying.items():
            return record
    return None


def finished_or_run(request: Request) -> Record:
    """Return the finished run of the same identity, resuming or doing it first if need be.

    Raises
    ------
    UserError
        If the run fails.
    """
    if record := finished_run(request):
        return record
    try:
        unfinished = find_unfinished(request)
    except UserError:
        unfinished = None
    terminal = Terminal(partial(print, flush=True))
    result = run_request(request, resume=unfinished, observer=terminal)
    return RunStore(request.workspace.runs_folder).find(result.run_id)


def probe_run(request: Request) -> Probe:
    """Time a part of the fit of a pipeline that trains in epochs, on this machine."""
    pipeline = request.build()
    assert isinstance(pipeline, Plannable)
    with join_processes(choose_device("auto")) as processes:
        return probe_fit(request, pipeline, processes, RunObserver())


def top1_error(result: Result) -> float:
    """Return the error on the test split, in percent, of a run that was tested."""
    assert result.top1_error is not None
    return result.top1_error.value
