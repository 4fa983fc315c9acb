"""A finished run's pipeline, rebuilt from its spec and state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.contract import Pipeline
from harness.errors import UserError
from harness.registry import Registry
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
        If the run is an ensemble, was made from an object, or the source of its pipeline is gone.
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
    own = workspace.with_plugins(plugins_for(record, workspace.registry))
    pipeline: Pipeline = own.resolve("pipeline", spec.pipeline).make()
    return pipeline


def plugins_for(record: Record, registry: Registry) -> tuple[str, ...]:
    """Return the plugins that load a run's pipeline again.

    Those of the registry, and, unless it knows the pipeline already, those of the run, which may
    have moved in the meantime.
    """
    if parse_spec(record.spec.pipeline)[0] in registry.entries["pipeline"]:
        return registry.plugins
    return (*registry.plugins, *record.spec.plugins)
