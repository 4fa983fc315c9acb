"""Update rules, the paper's and later ones, on one flat array of all weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from harness.contract import State
from pipelines.learned.networks.network import Network
from pipelines.learned.recipe import Recipe

CACHED_VALUES = (
    1 << 18
)  # weights moved at a time on a CPU, so that the passes over them stay in the processor's cache
BETAS, EPSILON = (0.9, 0.999), 1e-8  # of Adam


@dataclass(frozen=True)
class Move:
    """One update of some weights. `rate` and `decay` are theirs; `updates` counts from 1."""

    rate: float
    decay: float
    momentum: float
    updates: int


Slots = Sequence[torch.Tensor]  # what a rule remembers of each weight
Rule = Callable[[torch.Tensor, torch.Tensor, Slots, Move], None]


def paper_sgd(w: torch.Tensor, g: torch.Tensor, slots: Slots, move: Move) -> None:
    """v <- m v - d e w - e g;  w <- w + v: weight decay d and learning rate e act inside the velocity v (Krizhevsky et al. 2012, section 5).

    It differs from `sgd` where the rate changes: old velocity keeps the rate under which it was gathered.
    """
    velocity = slots[0].mul_(move.momentum).add_(g, alpha=-move.rate)
    if move.decay:
        velocity.add_(w, alpha=-move.rate * move.decay)
    w.add_(velocity)


def sgd(w: torch.Tensor, g: torch.Tensor, slots: Slots, move: Move) -> None:
    """v <- m v + g + d w;  w <- w - e v: torch's SGD."""
    velocity = slots[0].mul_(move.momentum).add_(g)
    if move.decay:
        velocity.add_(w, alpha=move.decay)
    w.sub_(velocity, alpha=move.rate)


def adam(w: torch.Tensor, g: torch.Tensor, slots: Slots, move: Move) -> None:
    """Kingma and Ba 2015; weight decay is part of the gradient."""
    if move.decay:
        g.add_(w, alpha=move.decay)
    first, second = slots
    first.lerp_(g, 1 - BETAS[0])
    second.mul_(BETAS[1]).addcmul_(g, g, value=1 - BETAS[1])
    size = (second / (1 - BETAS[1] ** move.updates)).sqrt_().add_(EPSILON)
    w.addcdiv_(first, size, value=-move.rate / (1 - BETAS[0] ** move.updates))


def adamw(w: torch.Tensor, g: torch.Tensor, slots: Slots, move: Move) -> None:
    """Loshchilov and Hutter 2019: weight decay apart from the gradient."""
    w.mul_(1 - move.rate * move.decay)
    adam(w, g, slots, Move(move.rate, 0.0, move.momentum, move.updates))


RULES: dict[str, tuple[Rule, int]] = {
    "paper-sgd": (paper_sgd, 1),
    "sgd": (sgd, 1),
    "adam": (adam, 2),
    "adamw": (adamw, 2),
}
"""Each rule and how many slots it needs."""


class Optimizer:
    """Moves the weights of a network by the recipe's rule, each group of them at its own multiple of rate and weight decay.

    Parameters and their gradients become views of flat arrays, group by group. `shared` is the gradient of the parameters that every
    process holds, followed by `extras` numbers of the caller's, so that one sum over processes makes all of it global.
    """

    def __init__(self, network: Network, recipe: Recipe, *, extras: int = 0) -> None:
        self.recipe = recipe
        self.rule, slots = RULES[recipe.optimizer]
        self.groups = network.groups()
        parameters = [parameter for group in self.groups for parameter in group.parameters]
        self.weights = torch.cat([p.detach().flatten() for p in parameters])
        names = {parameter: name for name, parameter in network.named_parameters()}
        self.parameters = {names[parameter]: parameter for parameter in parameters}
        self.slots = self.weights.new_zeros(slots, len(self.weights))
        self.updates = 0
        bucket = self.weights.new_zeros(len(self.weights) + extras)
        self.gradient = bucket[: len(self.weights)]
        self.shared = bucket[
            sum(p.numel() for group in self.groups if not group.shared for p in group.parameters) :
        ]
        sizes = [p.numel() for p in parameters]
        for p, w, g in zip(
            parameters, self.weights.split(sizes), self.gradient.split(sizes), strict=True
        ):
            p.data, p.grad = w.view_as(p), g.view_as(p)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One update from `gradient`, which is then zero again."""
        self.updates += 1
        sizes = [sum(p.numel() for p in group.parameters) for group in self.groups]
        parts = zip(
            self.weights.split(sizes),
            self.gradient.split(sizes),
            self.slots.split(sizes, dim=1),
            strict=True,
        )
        for group, (weights, gradient, slots) in zip(self.groups, parts, strict=True):
            move = Move(
                rate * group.rate,
                self.recipe.weight_decay * group.decay,
                self.recipe.momentum,
                self.updates,
            )
            block = CACHED_VALUES if weights.device.type == "cpu" else max(1, len(weights))
            for w, g, s in zip(
                weights.split(block), gradient.split(block), slots.split(block, dim=1), strict=True
            ):
                self.rule(w, g, s.unbind(), move)
                g.zero_()

    def state(self) -> State:
        """What the next update depends on besides the weights: `updates`, and of each parameter what the rule remembers, `slot0.NAME` on."""
        return {"updates": torch.tensor(self.updates), **self._slots()}

    def load(self, state: State) -> None:
        for name, slot in self._slots().items():
            slot.copy_(state[name])
        self.updates = int(state["updates"])

    def _slots(self) -> State:
        """Views of the slots, in the shapes of the parameters."""
        sizes = [parameter.numel() for parameter in self.parameters.values()]
        return {
            f"slot{number}.{name}": part.view_as(parameter)
            for number, slot in enumerate(self.slots)
            for (name, parameter), part in zip(
                self.parameters.items(), slot.split(sizes), strict=True
            )
        }
