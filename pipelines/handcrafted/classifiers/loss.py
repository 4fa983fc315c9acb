"""The loss of a one-vs-rest linear classifier: what a row costs a class.

All functions take the slack 1 - y w.x, where y is +1 for the row's own class and -1 for others.
"""

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
    """The squared hinge max(0, slack)^2, or the hinge max(0, slack) with a rounded corner.

    Parameters
    ----------
    corner : float or None
        None is the squared hinge; 0 is the hinge itself. Otherwise the loss is
        slack^2 / (2 corner) up to a slack of `corner`, and the hinge less corner / 2 beyond.
    """

    corner: float | None = None

    @classmethod
    def from_name(cls, name: LossName) -> Loss:
        return cls(None if name == "squared_hinge" else 0.0)

    def value(self, slack: Tensor) -> Tensor:
        positive = slack.clamp(min=0)
        if self.corner is None:
            return positive.square()
        if self.corner == 0:
            return positive
        rounded = positive.square() / (2 * self.corner)
        return torch.where(slack < self.corner, rounded, positive - self.corner / 2)

    def slope(self, slack: Tensor) -> Tensor:
        """Return the derivative of the loss by the slack."""
        if self.corner is None:
            return 2 * slack.clamp(min=0)
        if self.corner == 0:
            return (slack > 0).to(slack.dtype)
        return (slack / self.corner).clamp(0, 1)

    def curvature(self, slack: Tensor) -> Tensor:
        """Return the second derivative of the loss by the slack; 0 for the hinge itself."""
        if self.corner is None:
            return 2 * (slack > 0).to(slack.dtype)
        if self.corner == 0:
            return torch.zeros_like(slack)
        return ((slack > 0) & (slack < self.corner)).to(slack.dtype) / self.corner

    def rounding_error(self, slack: Tensor) -> Tensor:
        """Return how far the rounded hinge is below the hinge; 0 for the squared hinge."""
        if self.corner is None:
            return torch.zeros_like(slack)
        return slack.clamp(min=0) - self.value(slack)

    def total(self, margins: Tensor, labels: Tensor, positive_weight: float) -> Tensor:
        """Return the weighted sum (0-d float64) of the loss over rows and classes.

        Parameters
        ----------
        margins : (n, classes)
        labels : (n,) int64
        positive_weight
            Weight of a row's loss for its own class.
        """
        signs = class_signs(labels, margins.shape[1], margins.dtype)
        losses = class_weights(signs, positive_weight) * self.value(1 - signs * margins)
        return losses.sum(dtype=torch.float64)

    # The following are for corner None or 0 only.

    def implicit_step(self, slack: Floats, rates: Floats, square: float) -> Floats:
        """Return one row's step that minimizes rate * loss after it + half the squared change.

        Parameters
        ----------
        slack, rates : (classes,)
        square
            The row's squared length.

        Returns
        -------
        (classes,) float64
            The step as a multiple of the row.
        """
        if self.corner is None:
            return 2 * rates * np.maximum(0, slack) / (1 + 2 * rates * square)
        return np.clip(slack / square, 0, rates)

    def dual_value(self, duals: Tensor, costs: Tensor) -> Tensor:
        """Return the dual objective (0-d float64) less its term in the weights.

        Parameters
        ----------
        duals, costs : (n, classes)
            The signed or unsigned dual variables, and C times the class weight.
        """
        total = duals.abs().sum(dtype=torch.float64)
        if self.corner is None:
            total -= (duals.square() / (4 * costs)).sum(dtype=torch.float64)
        return total


def class_signs(labels: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Return (n, classes): +1 for the row's own class, -1 for the others."""
    signs = torch.full((len(labels), classes), -1.0, dtype=dtype, device=labels.device)
    return signs.scatter_(1, labels[:, None], 1.0)


def class_weights(signs: Tensor, positive_weight: float) -> Tensor:
    """Return each row's weight per class: `positive_weight` where the sign is +1, else 1."""
    if positive_weight == 1:
        return torch.ones_like(signs)
    return torch.where(signs > 0, positive_weight, 1.0)
