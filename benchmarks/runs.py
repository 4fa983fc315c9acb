"""Runs of a study: a finished one is read, an unfinished one gone on with, a missing one made."""

from __future__ import annotations

from collections.abc import Callable

from harness.engine.request import Request, resumable
from harness.engine.runner import execute
from harness.errors import UserError
from harness.runs.record import Record
from harness.runs.run_store import RunStore


def finished(request: Request, *, any_source: bool = False) -> Record | None:
    """The record of the latest finished, tested run of the same identity; `any_source`: whatever the state of the pipeline's source was."""
    wanted = {
        key: value
        for key, value in request.spec.items()
        if not (any_source and key == "source_hash")
    }
    for record in reversed(RunStore(request.settings.runs).finished()):
        if record.state == "finished" and all(
            record.spec.get(key) == value for key, value in wanted.items()
        ):
            return record
    return None


def finished_or_run(request: Request, *, say: Callable[[str], None] = print) -> Record:
    """Its record. A run of the same identity that was killed or stopped is resumed. Raises UserError for what goes wrong in the run."""
    if found := finished(request):
        return found
    try:
        begun = resumable(request, "latest")
    except UserError:
        begun = None
    return RunStore(request.settings.runs).find(execute(request, resume=begun, say=say).run_id)
