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
    """A recipe for small images and a short time; `n` training images of `side` x `side` pixels.

    epochs  379 (side / 32)^(1/4) / n^(1/4): 26 for 45,000 images of 32 pixels, 65 for 1,167. Few images need more passes, and larger
            ones hold more to learn, but both slowly: the number of updates still grows with n. The exponent of n: on two held-out
            quarters of the 1,297 training digits 65 epochs left 2.5 and 1.9 % errors, 43 left 4.0 and 4.6 % (one seed).
    batch   n / 32 images, at least 16 and at most the paper's 128, so that an epoch has 32 updates or more.
    rate    0.08 for batches of 128, and with the root of the batch, as the noise of the gradient does.
    """
    batch = max(16, min(128, n // 32))
    return Recipe(
        name="short",
        epochs=max(1, round(379 * (side / 32) ** 0.25 / n**0.25)),
        batch=batch,
        rate=0.08 * (batch / 128) ** 0.5,
        schedule="one-cycle",
        init="he",
        pixel_scale=1 / 64,  # about the standard deviation of grey levels
        later=("one-cycle schedule", "He init"),
    )


def with_epochs(recipe: Recipe, epochs: int | None) -> Recipe:
    """The recipe, with `epochs` in place of its own number where given."""
    return recipe if epochs is None else replace(recipe, epochs=epochs)
