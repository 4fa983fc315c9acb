"""A finished run's pipeline, rebuilt from its spec and state.

The code comes from the registry alone. A record names the plugins that it was made with, but a
record may come from anyone, and so may a file beside it: a plugin is imported when the user names
it, never because a record does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.commands import as_flags
from harness.contract import Pipeline
from harness.errors import UserError
from harness.registry import Kind, Registry
from harness.runs.record import Record
from harness.spec import parse_spec
from harness.workspace import Workspace

if TYPE_CHECKING:
    import torch


def load_pipeline(workspace: Workspace, record: Record, device: torch.device) -> Pipeline:
    """Return the fitted pipeline of a run.

    Raises
    ------
    UserError
        As `new_pipeline` does, or if the pipeline does not take the state.
    """
    pipeline = new_pipeline(workspace, record)
    state, _ = record.load_state(device)
    try:
        pipeline.load(state)
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:  # of another version of the pipeline, or damaged
        raise UserError(
            f"{record.spec.pipeline} cannot load the state of run {record.run_id}: "
            f"{type(error).__name__}: {error}"
        ) from error
    return pipeline


def new_pipeline(workspace: Workspace, record: Record) -> Pipeline:
    """Return the pipeline of a run as it was before `fit`.

    Raises
    ------
    UserError
        If the run is an ensemble, was made from an object, or needs a plugin that was not given.
    """
    spec = record.spec
    if spec.kind == "ensemble":
        raise UserError(
            f"run {record.run_id} is an ensemble, without weights of its own; "
            f"take its members: {', '.join(spec.members)}"
        )
    if spec.from_object:
        raise UserError(
            f"run {record.run_id} was made from an object in a program; "
            "only pipelines in files can be loaded again"
        )
    require_registered(workspace.registry, record, "pipeline")
    pipeline: Pipeline = workspace.resolve("pipeline", spec.pipeline).make()
    return pipeline


def require_registered(registry: Registry, record: Record, kind: Kind) -> None:
    """Raise UserError if a run's pipeline or dataset is not in the registry.

    The message names the plugins that the record claims to be made with.
    """
    spec = record.spec
    name, _ = parse_spec(getattr(spec, kind))
    if name in registry.entries[kind]:
        return
    if not spec.plugins:
        raise UserError(
            f"run {record.run_id} needs the {kind} {name!r}, which is not installed here"
        )
    raise UserError(
        f"run {record.run_id} needs the {kind} {name!r} of a plugin, which is loaded only if you "
        f"name it; if you trust the file, add:{as_flags(plugins=spec.plugins)}"
    )
