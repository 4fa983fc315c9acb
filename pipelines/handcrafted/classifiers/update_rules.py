"""Update rules of linear classifiers that see one row at a time, and weights updated by them.

A rule changes all classes' weights by multiples of the row: w <- decay * w + change * x. The
margins of a batch of rows therefore follow from the batch's products with the weights before it
and with each other, and the work left per row is as small as the number of classes. The result is
that of single updates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import linear

from pipelines.handcrafted.classifiers.loss import Loss

Floats = NDArray[np.float64]


class UpdateRule(Protocol):
    """How one row changes the weights."""

    def __call__(
        self, row: int, margins: Floats, label: int, square: float
    ) -> tuple[Floats, float]:
        """Return the change (classes,), as multiples of the row, and the decay of the weights.

        Parameters
        ----------
        row
            Index of the row in its batch.
        margins : (classes,)
            The row's products with the weights before the update.
        label
        square
            The row's squared length.
        """
        ...


@dataclass
class ImplicitSGD:
    """Stochastic gradient descent on a one-vs-rest SVM, with the step sizes of Xu (2011).

    It minimizes the mean loss + regularization / 2 w.w. The gradient is taken after the step
    (Toulis & Airoldi, Annals of Statistics 2017), which does not diverge at any rate.

    Parameters
    ----------
    loss, regularization
    first_rate
        Rate of the first step; at step t it is multiplied by
        (1 + regularization * first_rate * t)^(-3/4).
    positive_weight
        Weight of a row's loss for its own class.
    steps
        Steps taken so far.
    """

    loss: Loss
    regularization: float
    first_rate: float
    positive_weight: float = 1.0
    steps: int = 0

    def __call__(
        self, row: int, margins: Floats, label: int, square: float
    ) -> tuple[Floats, float]:
        rate = self.first_rate * (1 + self.regularization * self.first_rate * self.steps) ** -0.75
        self.steps += 1
        decay = 1 / (1 + rate * self.regularization)
        signs, rates = signs_and_costs(label, len(margins), rate * decay, self.positive_weight)
        return signs * self.loss.implicit_step(1 - signs * decay * margins, rates, square), decay


@dataclass
class PassiveAggressive:
    """PA-I (Crammer et al., JMLR 2006): the smallest change that gives the row a margin of 1.

    Parameters
    ----------
    aggressiveness
        Upper bound of the change, as a multiple of the row.
    one_vs_rest
        Update every class by itself; otherwise only the row's class and the highest-scoring
        other class (section 7 of the paper).
    """

    aggressiveness: float
    one_vs_rest: bool = False

    def __call__(
        self, row: int, margins: Floats, label: int, square: float
    ) -> tuple[Floats, float]:
        if self.one_vs_rest:
            signs, bounds = signs_and_costs(label, len(margins), self.aggressiveness, 1.0)
            return signs * np.minimum(bounds, np.maximum(0, 1 - signs * margins) / square), 1.0
        others, change = margins.copy(), np.zeros(len(margins))
        others[label] = -np.inf
        rival = int(others.argmax())
        needed = max(0.0, 1 - margins[label] + margins[rival]) / (2 * square)
        change[label] = min(self.aggressiveness, needed)
        change[rival] = -change[label]
        return change, 1.0


def signs_and_costs(
    label: int, classes: int, cost: float, positive_weight: float
) -> tuple[Floats, Floats]:
    """Return a row's signs (+1 for its own class, else -1) and costs, (classes,) each.

    The cost is `positive_weight * cost` for the row's own class, else `cost`.
    """
    signs, costs = np.full(classes, -1.0), np.full(classes, cost)
    signs[label] = 1
    costs[label] *= positive_weight
    return signs, costs


class UpdatedWeights:
    """Weights that see rows one after the other, and their mean over the steps.

    Parameters
    ----------
    classes, features
    like : Tensor
        Gives the dtype and device.
    averaged
        Whether to maintain `mean`, which takes as much memory as the weights and half as much
        time again.

    Attributes
    ----------
    weights : (classes, features)
    """

    def __init__(self, classes: int, features: int, like: Tensor, *, averaged: bool = True) -> None:
        self.weights, self.averaged = like.new_zeros(classes, features), averaged
        self.restart_mean()

    def restart_mean(self) -> None:
        """Forget the steps so far in `mean`."""
        self._sum = torch.zeros_like(self.weights if self.averaged else self.weights[:0])
        self._steps = 0

    @property
    def mean(self) -> Tensor:
        """(classes, features) mean of the weights after each step."""
        return self._sum / max(1, self._steps)

    def see(self, rows: Tensor, labels: Tensor, rule: UpdateRule) -> None:
        """Update the weights by rows (n, features), one after the other."""
        products = linear(rows, self.weights).double().cpu().numpy()
        gram = (rows @ rows.T).double().cpu().numpy()
        changes, scales = _apply_rule(products, gram, labels.cpu().numpy(), rule)
        # After step t the weights are
        # scales[t] * (weights before the batch + sum over rows s <= t of changes[s] * row[s]).
        if self.averaged:
            remaining = np.cumsum(scales[::-1])[::-1]
            self._sum += (
                scales.sum() * self.weights
                + torch.from_numpy(remaining[:, None] * changes).to(rows).T @ rows
            )
        self.weights = scales[-1] * (self.weights + torch.from_numpy(changes).to(rows).T @ rows)
        self._steps += len(rows)


def _apply_rule(
    products: Floats, gram: Floats, labels: NDArray[np.int64], rule: UpdateRule
) -> tuple[Floats, Floats]:
    """Apply a rule to the rows of a batch in turn.

    Parameters
    ----------
    products : (n, classes)
        Products of the rows with the weights before the batch.
    gram : (n, n)
        Products of the rows with each other.
    labels : (n,)

    Returns
    -------
    changes : (n, classes)
        Divided by the scale, so that they add up.
    scales : (n,)
        Product of all decays up to and including each row's.
    """
    changes, scales, scale = np.zeros_like(products), np.empty(len(products)), 1.0
    for t in range(len(products)):
        margins = scale * (products[t] + gram[t, :t] @ changes[:t])
        change, decay = rule(t, margins, int(labels[t]), gram[t, t])
        scale *= decay
        changes[t], scales[t] = change / scale, scale
    return changes, scales
