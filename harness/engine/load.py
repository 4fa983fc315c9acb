"""A finished run's pipeline, rebuilt from its spec and state.

The code comes from the registry alone. A record names the plugins that it was made with, but a
record may come from anyone, and so may a file beside it: a plugin is imported when the user names
it, never because a record does.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.commands import as_flags
from harness.contract import Pipeline, State
from harness.errors import RecordWarning, UserError
from harness.registry import Kind, Registry
from harness.runs.record import Record
from harness.spec import parse_spec
from harness.workspace import Workspace

if TYPE_CHECKING:
    import torch


def load_pipeline(workspace: Workspace, record: Record, device: torch.device) -> Pipeline:
    """Return the fitted pipeline of a run; a warning says if its source has changed since.

    Raises
    ------
    UserError
        As `new_pipeline` does, and if the state is damaged or does not fit the pipeline.
    """
    pipeline = new_pipeline(workspace, record)
    state, _ = record.load_state(device)
    restore(pipeline, state, record)
    spec = record.spec
    source_hash = workspace.resolve("pipeline", spec.pipeline).entry.source_hash
    if source_hash != spec.source_hash:
        warnings.warn(
            f"the source of {parse_spec(spec.pipeline)[0]} has changed since run {record.run_id} "
            f"({spec.source_hash} then, {source_hash} now): its weights may mean something else",
            RecordWarning,
            stacklevel=2,
        )
    return pipeline


@dataclass(frozen=True)
class FitProgress:
    """What the header of a saved state says of the fit, see `RunContext.progress_so_far`."""

    curves: dict[str, list[tuple[int, float]]]
    notes: list[str]
    refitted: bool
    seconds: float
    cpu_seconds: float
    fit_seconds: float
    cached_seconds: float
    fit_cpu_seconds: float | None
    cached_cpu_seconds: float | None
    peak_memory_mb: float


def load_fit(record: Record, device: torch.device | str = "cpu") -> tuple[State, FitProgress]:
    """Return what a run has learned, and what its header says of the fit.

    Raises
    ------
    UserError
        If the file is missing or damaged.
    """
    from pydantic import TypeAdapter

    state, header = record.load_state(device)
    try:
        progress = TypeAdapter(FitProgress).validate_json(header.get("fit", ""))
    except ValueError as error:
        raise UserError(
            f"{record.state_file} cannot be read (its header does not say how the run was fitted)"
        ) from error
    return state, progress


def restore(pipeline: Pipeline, state: State, record: Record) -> None:
    """Load a state into a pipeline; raise UserError if it does not fit."""
    try:
        pipeline.load(state)
    except (MemoryError, UserError):
        raise
    except Exception as error:  # a plugin's own, or torch's, which takes many lines
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{record.state_file} does not fit the pipeline {record.spec.pipeline} as it is now "
            f"({type(error).__name__}: {reason})"
        ) from error


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
