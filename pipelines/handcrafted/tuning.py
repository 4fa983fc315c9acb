"""Choose a hyper-parameter on the tune split: the best value, or a tied one near the default."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.contract import Context

# The search stops after this many successive values that are worse than an earlier one.
PATIENCE = 2


@dataclass(frozen=True)
class ValueSearch:
    """A search over increasing values of one hyper-parameter.

    Large values, for which a solver takes longest, are only tried while they may still help.

    Parameters
    ----------
    name
        Names the curves: `val/NAME` and `val/top1_error` (for "c") or `val/top1_error_of_NAME`.
    values : increasing
    default
        Preferred among the values that are as good as the best one.
    suffix
        Appended to the names of the curves.
    """

    name: str
    values: Sequence[float]
    default: float
    suffix: str = ""

    def choose(
        self, errors_at: Callable[[float], Tensor], tune_size: int, context: Context
    ) -> float:
        """Return the chosen value.

        Parameters
        ----------
        errors_at
            Maps a value to (n,) bool: which of this process's tune images are misclassified.
        tune_size
            Tune images over all processes.
        """
        errors: list[Tensor] = []
        for step, value in enumerate(self.values):
            errors.append(errors_at(value))
            count = float(context.sum(errors[-1].sum(dtype=torch.float64)))
            self._log(value, 100 * count / tune_size, step, context)
            if step < PATIENCE:
                continue
            if not as_good_as_best(torch.stack(errors), context)[-PATIENCE:].any():
                break
        tried = self.values[: len(errors)]
        return tried[closest_to_default(torch.stack(errors), tried, self.default, context)]

    def _log(self, value: float, error_percent: float, step: int, context: Context) -> None:
        curve = "val/top1_error" if self.name == "c" else f"val/top1_error_of_{self.name}"
        context.log(f"val/{self.name}{self.suffix}", value, step)
        context.log(f"{curve}{self.suffix}", error_percent, step)


def misclassified(scores: Tensor, labels: Tensor) -> Tensor:
    """Return (n,) bool: rows whose own class does not score above every other class."""
    return (scores >= scores.gather(1, labels[:, None])).sum(1) > 1


def closest_to_default(
    errors: Tensor, values: Sequence[float], default: float, context: Context
) -> int:
    """Return the index of the value closest to the default, by ratio, among the best ones.

    Parameters
    ----------
    errors : (values, n) bool
        See `as_good_as_best`, which says which values are among the best ones.
    """
    log_ratios = [abs(math.log(value / default)) for value in values]
    distances = torch.tensor(log_ratios, dtype=torch.float64)
    is_good = as_good_as_best(errors, context).cpu()
    return int(distances.masked_fill(~is_good, math.inf).argmin())


def as_good_as_best(errors: Tensor, context: Context) -> Tensor:
    """Return (values,) bool: which values cannot be told from the best one.

    These have more errors than the best one by at most one standard error of the paired
    difference: the square root of the number of rows on which exactly one of the two is wrong.

    Parameters
    ----------
    errors : (values, n) bool
        Which of this process's tune images are misclassified with each value.
    """
    counts = context.sum(errors.sum(1, dtype=torch.float64))
    best = errors[int(counts.argmin())]
    discordant = context.sum((errors ^ best).sum(1, dtype=torch.float64))
    return counts - counts.min() <= discordant.sqrt()
