"""A budget of time becomes a number of epochs, once, before a run: its spec then says the number, and the run can be repeated."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from harness.context import RunContext, quiet_progress
from harness.contract import Probe
from harness.distributed import Processes
from harness.errors import UserError
from harness.progress import progress
from harness.record import Runs
from harness.spec import format_spec, parse_spec

if TYPE_CHECKING:
    from harness.runner import Request

_SECONDS = {"s": 1, "m": 60, "h": 3600}


def seconds_of(budget: str) -> float:
    """`90s`, `20m`, `1.5h` and `1h30m` in seconds. Raises UserError for anything else."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smh])", budget)
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if not seconds or "".join(number + unit for number, unit in parts) != budget:
        raise UserError(f"--budget {budget} is not a time; write 90s, 20m, 1.5h or 1h30m")
    return seconds


def within(request: Request, budget: str, group: Processes) -> str:
    """The request's pipeline spec with the number of epochs, at least one, whose fit takes about `budget` here.

    Raises UserError where the pipeline has no epochs or the spec already says how long to train.
    """
    seconds = seconds_of(budget)
    name, values = parse_spec(request.pipeline)
    for key in ("epochs", "updates"):
        if values.get(key, "none") != "none":
            raise UserError(
                f"--budget {budget} is turned into a number of epochs, and {key}={values[key]} says how long to train: give one of the two"
            )
    pipeline = request.build()
    if not hasattr(pipeline, "probe"):
        raise UserError(
            f"--budget {budget}: {name} does not learn in epochs, of which fewer would take less time"
        )
    found = probed(request, pipeline, group)
    epochs = max(1, int((seconds - found.preparation_seconds) / found.seconds_per_epoch))
    return format_spec(name, {**values, "epochs": group.share(epochs)})


def probed(request: Request, pipeline: Any, group: Processes) -> Probe:
    """What the request's fit takes here, by the pipeline's `probe`."""
    splits = request.splits
    train = splits.train.sharded(group.rank, group.world_size)
    tune = splits.tune.sharded(group.rank, group.world_size) if splits.tune else None
    context = RunContext(
        seed=request.seed,
        processes=group,
        progress=progress if group.first else quiet_progress,
        load_run=lambda run: Runs(request.settings.runs).find(run).trained_run(),
    )
    found: Probe = pipeline.probe(train, tune, context)
    return found
