"""What a linear classifier pays for a row on the wrong side of the margin; slack is 1 - y w.x, of any shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]
LossName = Literal["squared_hinge", "hinge"]


@dataclass(frozen=True)
class Loss:
    """max(0, slack)^2, or max(0, slack) whose corner is rounded off.

    corner  None: squared. Else the hinge is slack^2 / (2 corner) up to a slack of `corner`, and corner / 2 lower than it is beyond
    """

    corner: float | None = None

    @classmethod
    def named(cls, name: LossName) -> Loss:
        """The hinge's own corner is not rounded."""
        return cls(None if name == "squared_hinge" else 0.0)

    def value(self, slack: Tensor) -> Tensor:
        positive = slack.clamp(min=0)
        if self.corner is None:
            return positive.square()
        if self.corner == 0:
            return positive
        return torch.where(
            slack < self.corner, positive.square() / (2 * self.corner), positive - self.corner / 2
        )

    def slope(self, slack: Tensor) -> Tensor:
        if self.corner is None:
            return 2 * slack.clamp(min=0)
        if self.corner == 0:
            return (slack > 0).to(slack.dtype)
        return (slack / self.corner).clamp(0, 1)

    def curvature(self, slack: Tensor) -> Tensor:
        """0 everywhere for the hinge itself."""
        if self.corner is None:
            return 2 * (slack > 0).to(slack.dtype)
        if self.corner == 0:
            return torch.zeros_like(slack)
        return ((slack > 0) & (slack < self.corner)).to(slack.dtype) / self.corner

    def missed(self, slack: Tensor) -> Tensor:
        """What the rounded hinge is below the hinge itself; 0 for the squared one."""
        return (
            torch.zeros_like(slack)
            if self.corner is None
            else slack.clamp(min=0) - self.value(slack)
        )

    def total(self, margins: Tensor, labels: Tensor, positive: float) -> Tensor:
        """0-d float64: the sum over (n, classes) margins, where the rows of a class count `positive` times for it."""
        signs = class_signs(labels, margins.shape[1], margins.dtype)
        return (importance(signs, positive) * self.value(1 - signs * margins)).sum(
            dtype=torch.float64
        )

    # For one row and all classes, of the squared hinge and the hinge itself:

    def implicit_step(self, slack: Floats, rates: Floats, square: float) -> Floats:
        """Multiples of a row of this squared length that minimize rates * loss and half of the squared change."""
        if self.corner is None:
            return 2 * rates * np.maximum(0, slack) / (1 + 2 * rates * square)
        return np.clip(slack / square, 0, rates)

    def best_dual(self, dual: Floats, slack: Floats, costs: Floats, square: float) -> Floats:
        """The dual variables that are best while all others stay, where the margins with the present ones leave this slack."""
        if self.corner is None:
            return np.maximum(0, dual + (slack - dual / (2 * costs)) / (square + 1 / (2 * costs)))
        return np.clip(dual + slack / square, 0, costs)

    def dual_value(
        self, duals: Floats, labels: NDArray[np.int64], c: float, positive: float
    ) -> float:
        """The dual objective of (n, classes) variables without its quadratic term in the weights."""
        if self.corner is not None:
            return float(duals.sum())
        squares = duals**2 / (4 * c)
        own = squares[np.arange(len(labels)), labels].sum()
        return float(duals.sum() - squares.sum() + own - own / positive)


def class_signs(labels: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """(n, classes): +1 for the row's own class, -1 for the others."""
    signs = torch.full((len(labels), classes), -1.0, dtype=dtype, device=labels.device)
    return signs.scatter_(1, labels[:, None], 1.0)


def importance(signs: Tensor, positive: float) -> Tensor:
    """How much each row counts for each class: `positive` where its sign is +1, else 1."""
    return torch.ones_like(signs) if positive == 1 else torch.where(signs > 0, positive, 1.0)
