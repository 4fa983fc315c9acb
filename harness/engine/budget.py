"""A budget of time turned into a number of epochs, once, before a run.

The spec then holds the number, so that the run can be repeated.
"""

from __future__ import annotations

import re

from harness.contract import Plannable
from harness.engine.distributed import Processes
from harness.engine.estimate import probe_fit
from harness.engine.observer import RunObserver
from harness.engine.request import Request
from harness.errors import UserError
from harness.spec import format_spec, parse_spec

UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}


def parse_budget(budget: str) -> float:
    """Return the seconds of `90s`, `20m`, `1.5h` or `1h30m`; raises UserError for anything else."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smh])", budget)
    seconds = sum(float(number) * UNIT_SECONDS[unit] for number, unit in parts)
    if not seconds or "".join(number + unit for number, unit in parts) != budget:
        raise UserError(f"--budget {budget} is not a time; write 90s, 20m, 1.5h or 1h30m")
    return seconds


def epochs_within(
    request: Request, budget: str, processes: Processes, observer: RunObserver
) -> int:
    """Return how many epochs, at least one, fit into `budget` on this machine.

    Raises
    ------
    UserError
        If the pipeline has no epochs, or its spec already says how long to train.
    """
    seconds = parse_budget(budget)
    name, values = parse_spec(request.spec.pipeline)
    for key in ("epochs", "updates"):
        if values.get(key, "none") != "none":
            raise UserError(
                f"--budget {budget} sets the number of epochs, and {key}={values[key]} says how "
                "long to train: give one of the two"
            )
    pipeline = request.build()
    if not isinstance(pipeline, Plannable):
        raise UserError(
            f"--budget {budget}: {name} does not learn in epochs, of which fewer would take less "
            "time"
        )
    probe = probe_fit(request, pipeline, processes, observer)
    epochs = max(1, int((seconds - probe.preparation_seconds) / probe.seconds_per_epoch))
    return int(processes.share(epochs))


def with_epochs(pipeline: str, epochs: int) -> str:
    """Return the pipeline spec with this number of epochs."""
    name, values = parse_spec(pipeline)
    return format_spec(name, {**values, "epochs": epochs})
