"""Update rules, the paper's and later ones, on one flat array of all weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from harness.contract import State
from pipelines.learned.networks.network import Network
from pipelines.learned.recipe import Recipe

# Weights updated at a time on a CPU, so that the passes over them stay in the processor's cache.
CACHED_VALUES = 1 << 18
ADAM_BETAS, ADAM_EPSILON = (0.9, 0.999), 1e-8


@dataclass(frozen=True)
class UpdateParameters:
    """Hyperparameters of one update of a group of weights."""

    lr: float
    weight_decay: float
    momentum: float
    updates: int  # number of this update, counted from 1


Slots = Sequence[torch.Tensor]  # the running averages that a rule keeps per weight
Rule = Callable[[torch.Tensor, torch.Tensor, Slots, UpdateParameters], None]


def paper_sgd(w: torch.Tensor, g: torch.Tensor, slots: Slots, p: UpdateParameters) -> None:
    """v <- m v - d e w - e g;  w <- w + v (Krizhevsky et al. 2012, section 5).

    Weight decay d and learning rate e act inside the velocity v. The rule differs from `sgd` where
    the learning rate changes: old velocity keeps the learning rate under which it was gathered.
    """
    velocity = slots[0].mul_(p.momentum).add_(g, alpha=-p.lr)
    if p.weight_decay:
        velocity.add_(w, alpha=-p.lr * p.weight_decay)
    w.add_(velocity)


def sgd(w: torch.Tensor, g: torch.Tensor, slots: Slots, p: UpdateParameters) -> None:
    """v <- m v + g + d w;  w <- w - e v, as in torch."""
    velocity = slots[0].mul_(p.momentum).add_(g)
    if p.weight_decay:
        velocity.add_(w, alpha=p.weight_decay)
    w.sub_(velocity, alpha=p.lr)


def adam(w: torch.Tensor, g: torch.Tensor, slots: Slots, p: UpdateParameters) -> None:
    """Adam (Kingma and Ba 2015), with weight decay as part of the gradient."""
    if p.weight_decay:
        g.add_(w, alpha=p.weight_decay)
    first, second = slots
    first.lerp_(g, 1 - ADAM_BETAS[0])
    second.mul_(ADAM_BETAS[1]).addcmul_(g, g, value=1 - ADAM_BETAS[1])
    size = (second / (1 - ADAM_BETAS[1] ** p.updates)).sqrt_().add_(ADAM_EPSILON)
    w.addcdiv_(first, size, value=-p.lr / (1 - ADAM_BETAS[0] ** p.updates))


def adamw(w: torch.Tensor, g: torch.Tensor, slots: Slots, p: UpdateParameters) -> None:
    """AdamW (Loshchilov and Hutter 2019), with weight decay apart from the gradient."""
    w.mul_(1 - p.lr * p.weight_decay)
    adam(w, g, slots, UpdateParameters(p.lr, 0.0, p.momentum, p.updates))


# Each rule and the number of slots that it needs.
RULES: dict[str, tuple[Rule, int]] = {
    "paper-sgd": (paper_sgd, 1),
    "sgd": (sgd, 1),
    "adam": (adam, 2),
    "adamw": (adamw, 2),
}


class Optimizer:
    """Updates the weights of a network by the recipe's rule.

    Each parameter group has its own multiples of learning rate and weight decay. Parameters and
    their gradients become views of flat arrays, group by group.

    Parameters
    ----------
    network : Network
    recipe : Recipe
    extras : int
        Numbers of the caller's that `all_reduce_buffer` has room for.

    Attributes
    ----------
    gradient : (weights,) float32
        Gradient of all parameters; `step` sets it to zero.
    all_reduce_buffer : (replicated weights + extras,) float32
        Gradient of the parameters that every process holds, followed by the extras, so that one sum
        over processes makes all of it global.
    """

    def __init__(self, network: Network, recipe: Recipe, *, extras: int = 0) -> None:
        self.recipe = recipe
        self.rule, n_slots = RULES[recipe.optimizer]
        self.groups = network.parameter_groups()
        parameters = [parameter for group in self.groups for parameter in group.parameters]
        names = {parameter: name for name, parameter in network.named_parameters()}
        self.parameters = {names[parameter]: parameter for parameter in parameters}
        self.weights = torch.cat([p.detach().flatten() for p in parameters])
        self.slots = self.weights.new_zeros(n_slots, len(self.weights))
        self.updates = 0
        gradient_and_extras = self.weights.new_zeros(len(self.weights) + extras)
        self.gradient = gradient_and_extras[: len(self.weights)]
        sharded = sum(group.size for group in self.groups if group.is_sharded)  # they come first
        self.all_reduce_buffer = gradient_and_extras[sharded:]
        sizes = [p.numel() for p in parameters]
        flat = zip(self.weights.split(sizes), self.gradient.split(sizes), strict=True)
        for p, (weights, gradient) in zip(parameters, flat, strict=True):
            p.data, p.grad = weights.view_as(p), gradient.view_as(p)

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Do one update from `gradient`, then set it to zero.

        Biases keep the recipe's first learning rate if it says so.
        """
        self.updates += 1
        sizes = [group.size for group in self.groups]
        flat = zip(
            self.weights.split(sizes),
            self.gradient.split(sizes),
            self.slots.split(sizes, dim=1),
            strict=True,
        )
        for group, arrays in zip(self.groups, flat, strict=True):
            keeps_lr = group.is_bias and self.recipe.constant_bias_lr
            parameters = UpdateParameters(
                (self.recipe.lr if keeps_lr else lr) * group.lr_factor,
                self.recipe.weight_decay * group.weight_decay_factor,
                self.recipe.momentum,
                self.updates,
            )
            for weights, gradient, slots in _blocks(*arrays):
                self.rule(weights, gradient, slots.unbind(), parameters)
                gradient.zero_()

    def state(self) -> State:
        """Return what the next update depends on besides the weights.

        `updates`, and per parameter what the rule keeps, `slot0.NAME` and so on.
        """
        return {"updates": torch.tensor(self.updates), **self._named_slots()}

    def load(self, state: State) -> None:
        """Restore from a dict that contains what `state` returned."""
        for name, slot in self._named_slots().items():
            slot.copy_(state[name])
        self.updates = int(state["updates"])

    def _named_slots(self) -> State:
        """Return views of the slots in the shapes of the parameters."""
        sizes = [parameter.numel() for parameter in self.parameters.values()]
        named = {}
        for number, slot in enumerate(self.slots):
            flat = zip(self.parameters.items(), slot.split(sizes), strict=True)
            for (name, parameter), values in flat:
                named[f"slot{number}.{name}"] = values.view_as(parameter)
        return named


def _blocks(
    weights: torch.Tensor, gradient: torch.Tensor, slots: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    size = CACHED_VALUES if weights.device.type == "cpu" else max(1, len(weights))
    return zip(weights.split(size), gradient.split(size), slots.split(size, dim=1), strict=True)
