"""Early stopping for runs of a fixed number of updates.

With few images that number is too many, so the best weights on the way are kept.
"""

from __future__ import annotations

import math

import torch

from harness.contract import State
from pipelines.learned.networks.network import Network

# Share of all updates without a lower error after which training stops. It is large because a high
# learning rate can hide for long what a lower one will bring.
PATIENCE = 1 / 2


class EarlyStopping:
    """Keeps the weights with the lowest error on tune; among equal errors, the latest.

    Parameters
    ----------
    total : int
        Planned number of updates.

    Attributes
    ----------
    best_error : float
        Lowest error on tune so far, in percent.
    best_update : int
        Number of updates after which it was reached.
    best_weights : dict of str to torch.Tensor
        Copy of the network's state at that point; empty before the first error.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.best_error, self.best_update = math.inf, 0
        self.best_weights: State = {}

    def update(self, error: float, updates: int, network: Network) -> None:
        """Record the network's error on tune, in percent, after a number of updates."""
        if error <= self.best_error:
            self.best_error, self.best_update = error, updates
            weights = network.state_dict()
            self.best_weights = {name: array.detach().clone() for name, array in weights.items()}

    def should_stop(self, updates: int) -> bool:
        """Return whether PATIENCE of all updates have passed since the lowest error."""
        return updates - self.best_update >= PATIENCE * self.total

    def restore_best(self, network: Network) -> str:
        """Load the best weights into the network and return a note that says which they are."""
        network.load_state_dict(self.best_weights)
        return f"weights of update {self.best_update:,}, the best on tune"

    def state(self) -> State:
        """Return everything that `load` needs."""
        weights = {f"best.{name}": array for name, array in self.best_weights.items()}
        best = torch.tensor([self.best_error, self.best_update], dtype=torch.float64)
        return {**weights, "best": best}

    def load(self, saved: State) -> None:
        """Restore from a dict that contains what `state` returned."""
        self.best_error, self.best_update = float(saved["best"][0]), int(saved["best"][1])
        names = [name for name in saved if name.startswith("best.")]
        self.best_weights = {name.removeprefix("best."): saved[name] for name in names}
