"""A finished run's pipeline, rebuilt from its spec and state."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from harness.contract import Pipeline
from harness.errors import UserError
from harness.files import load_arrays
from harness.registry import Registry
from harness.runs.record import Record
from harness.spec import parse_spec


def load_pipeline(record: Record, device: torch.device, plugins: Sequence[str] = ()) -> Pipeline:
    """The fitted pipeline of a run. Raises UserError as `new_pipeline` does."""
    pipeline = new_pipeline(record, plugins)
    pipeline.load(load_arrays(record.state_file, device)[0])
    return pipeline


def new_pipeline(record: Record, plugins: Sequence[str] = ()) -> Pipeline:
    """The same, before it has learned anything. Raises UserError when it was an object and not a file, is an ensemble, or its source is gone."""
    spec = record.spec
    if spec.kind == "ensemble":
        raise UserError(
            f"run {record.run_id} is an ensemble, without weights of its own; take its members: {', '.join(spec.members)}"
        )
    if spec.from_object:
        raise UserError(
            f"run {record.run_id} was made from an object in a program; only pipelines in files can be loaded again"
        )
    _, build, values, _ = Registry(plugins_for(record, plugins)).resolve("pipeline", spec.pipeline)
    pipeline: Pipeline = build(**values)
    return pipeline


def plugins_for(record: Record, given: Sequence[str]) -> tuple[str, ...]:
    """The plugins that a run is loaded with again: those given, and its own, which may have moved, where these do not know its pipeline."""
    known = Registry(given).entries["pipeline"]
    return (
        tuple(given)
        if parse_spec(record.spec.pipeline)[0] in known
        else (*given, *record.spec.plugins)
    )
