"""The paper's update rule, on one flat array of all weights."""

from __future__ import annotations

import torch
from torch import nn


class MomentumSGD:
    """v <- m v - d e w - e g;  w <- w + v: weight decay d and learning rate e act inside the velocity v (Krizhevsky et al. 2012, section 5).

    It differs from torch's SGD where the rate changes: old velocity keeps the rate under which it was gathered. As in the author's
    code, biases do not decay. Parameters and their gradients become views of flat arrays, so that one operation updates them all;
    `bucket` is the gradient followed by `extras` numbers of the caller's, so that one sum over processes makes all of it global.
    """

    def __init__(self, network: nn.Module, *, momentum: float, weight_decay: float, extras: int = 0) -> None:
        self.momentum, self.weight_decay = momentum, weight_decay
        parameters = sorted(network.parameters(), key=lambda parameter: parameter.ndim < 2)  # biases last; the sort is stable
        self.decaying = sum(p.numel() for p in parameters if p.ndim >= 2)
        self.weights = torch.cat([p.detach().flatten() for p in parameters])
        self.velocity = torch.zeros_like(self.weights)
        self.bucket = self.weights.new_zeros(len(self.weights) + extras)
        self.gradient = self.bucket[: len(self.weights)]
        sizes = [p.numel() for p in parameters]
        for p, w, g in zip(parameters, self.weights.split(sizes), self.gradient.split(sizes), strict=True):
            p.data, p.grad = w.view_as(p), g.view_as(p)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One update from `gradient`, which is then zero again."""
        self.velocity.mul_(self.momentum).add_(self.gradient, alpha=-rate)
        self.velocity[: self.decaying].add_(self.weights[: self.decaying], alpha=-rate * self.weight_decay)
        self.weights.add_(self.velocity)
        self.gradient.zero_()
