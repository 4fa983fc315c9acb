"""Training for so many updates whatever the number of images: too many for few images, so that the best weights on the way are kept."""

from __future__ import annotations

import math

import torch

from harness.contract import State
from pipelines.learned.networks.network import Network

PATIENCE = (
    1 / 2
)  # share of all updates: a rate that is still high may hide for long what its fall will bring


class EarlyStopping:
    """Keeps the weights of the lowest error on tune; of equal errors the latest, which a lower rate has made.

    total  updates that are planned
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.error, self.updates = math.inf, 0
        self.weights: State = {}

    def see(self, error: float, updates: int, network: Network) -> None:
        """After so many updates the network errs on `error` percent of tune."""
        if error <= self.error:
            self.error, self.updates = error, updates
            self.weights = {
                name: array.detach().clone() for name, array in network.state_dict().items()
            }

    def hopeless(self, updates: int) -> bool:
        """Whether PATIENCE of all updates have gone by without an error as low as the lowest."""
        return updates - self.updates >= PATIENCE * self.total

    def take_best(self, network: Network) -> str:
        """The best weights into the network; a remark that says which they are."""
        network.load_state_dict(self.weights)
        return f"weights of update {self.updates:,}, the best on tune"

    def state(self) -> State:
        weights = {f"best.{name}": array for name, array in self.weights.items()}
        return {**weights, "best": torch.tensor([self.error, self.updates], dtype=torch.float64)}

    def load(self, saved: State) -> None:
        self.error, self.updates = float(saved["best"][0]), int(saved["best"][1])
        self.weights = {
            name.removeprefix("best."): array
            for name, array in saved.items()
            if name.startswith("best.")
        }
