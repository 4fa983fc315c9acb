"""How a network is trained: every number of it, with its unit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pipelines.learned.networks.alexnet import Init


@dataclass(frozen=True)
class Recipe:
    """Stochastic gradient descent with momentum, and its schedule."""

    name: str
    epochs: int  # passes over the training images
    batch: int  # images a step, over all processes
    rate: float  # learning rate: of the mean loss over the batch; the highest of a one-cycle schedule
    schedule: Literal["plateau", "one-cycle"]
    init: Init
    pixel_scale: float  # what grey levels (0 to 255, less the mean image) are multiplied by
    momentum: float = 0.9  # share of the velocity kept a step
    weight_decay: float = 0.0005  # share of the weight, times the learning rate, taken off a step
    drops: int = 3  # plateau: how often the rate is divided by 10
    patience: int = 4  # plateau: epochs without a lower tune error before a drop
    warm_up: float = 0.2  # one-cycle: share of all steps over which the rate rises from 0
    later: tuple[str, ...] = ()  # what is younger than 2012


RECIPE_2012 = Recipe(name="2012", epochs=90, batch=128, rate=0.01, schedule="plateau", init="2012", pixel_scale=1.0)
"""Krizhevsky et al. 2012, section 5. The authors judged plateaus by eye; `patience` stands in for that."""


def short(n: int, side: int) -> Recipe:
    """A recipe for small images and a short time; `n` training images of `side` x `side` pixels."""
    return Recipe(
        name="short",
        epochs=short_epochs(n, side),
        batch=short_batch(n),
        rate=0.03,
        schedule="one-cycle",
        init="he",
        pixel_scale=1 / 64,
        later=("one-cycle schedule", "He init"),
    )


def short_epochs(n: int, side: int) -> int:
    return max(10, min(40, round(1.0e6 / n)))


def short_batch(n: int) -> int:
    """Images a step: 128 as in the paper, but fewer where an epoch would have less than 32 steps."""
    return max(16, min(128, n // 32))


def with_epochs(recipe: Recipe, epochs: int | None) -> Recipe:
    """The recipe, with `epochs` in place of its own number where given."""
    return recipe if epochs is None else replace(recipe, epochs=epochs)
