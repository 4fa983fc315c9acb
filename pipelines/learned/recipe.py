"""How a network is trained: every number of it, with its unit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from harness.contract import UserError
from pipelines.learned.networks.cuda_convnet import DECAY, Layers
from pipelines.learned.networks.network import Init
from pipelines.learned.precision import Precision

Optimizer = Literal["paper-sgd", "sgd", "adam", "adamw"]
ScheduleName = Literal["plateau", "step", "cosine", "onecycle"]
YOUNGER = {
    "onecycle": "one-cycle schedule", "cosine": "cosine schedule", "he": "He init", "adam": "Adam", "adamw": "AdamW",
}  # fmt: skip
"""What is younger than 2012."""


@dataclass(frozen=True)
class Recipe:
    """Stochastic gradient descent, and its schedule."""

    name: str
    epochs: int  # passes over the training images, the last one cut short by `updates`
    batch: int  # images a step, over all processes
    rate: float  # learning rate: of the mean loss over the batch; the highest of its schedule
    schedule: ScheduleName
    init: Init
    pixel_scale: float  # what gray levels (0 to 255, less the mean image) are multiplied by
    optimizer: Optimizer = "paper-sgd"
    momentum: float = 0.9  # share of the velocity kept a step
    weight_decay: float = 0.0005  # share of the weight, times the learning rate, taken off a step
    drops: int = 3  # plateau: how often the rate is divided by 10
    patience: int = 4  # plateau: epochs without a lower tune error before a drop
    milestones: tuple[float, ...] = (
        1 / 4,
        1 / 2,
        3 / 4,
    )  # step: shares of all steps after which the rate is divided ...
    factor: float = 10.0  # ... by this
    warm_up: float = 0.2  # onecycle: share of all steps over which the rate rises from 0
    updates: int | None = (
        None  # steps in all, where that is given: the weights that err least on tune are then kept
    )
    precision: Precision = (
        "auto"  # of products in training; auto: bfloat16 on a device that has it in hardware
    )

    @property
    def later(self) -> tuple[str, ...]:
        """What of it is younger than 2012."""
        return tuple(
            YOUNGER[part] for part in (self.optimizer, self.schedule, self.init) if part in YOUNGER
        )


RECIPE_2012 = Recipe(
    name="2012",
    epochs=90,
    batch=128,
    rate=0.01,
    schedule="plateau",
    init="published",
    pixel_scale=1.0,
)
"""Krizhevsky et al. 2012, section 5. The authors judged plateaus by eye; `patience` stands in for that."""

RECIPE_ONE_TOWER = replace(RECIPE_2012, name="2014", schedule="step", factor=250 ** (1 / 3))
"""`layer-params-imagenet-1gpu.cfg` of cuda-convnet2: the rate falls to 1/250 in four steps. There the biases' rate falls on a schedule
of its own (once, by 10, half way); here with the weights'."""

RECIPE_CAFFE = replace(
    RECIPE_2012, name="caffe", batch=256, schedule="step", milestones=tuple(step / 450_000 for step in (100_000, 200_000, 300_000, 400_000))
)  # fmt: skip
"""`models/bvlc_reference_caffenet/solver.prototxt` of Caffe: 450,000 updates of 256 images, 89.9 epochs of ILSVRC-2012."""


def cuda_convnet(layers: Layers) -> Recipe:
    """The schedules that the parameter files of cuda-convnet name: 80sec (8 epochs, then the rate a tenth; of the end it says nothing), 18pct,
    and 11pct, without folding in its validation batch half way; there the biases' rate stays, here it falls with the weights'. The files
    of 19pct and 13pct name none: they have those of their neighbors 18pct and 11pct.
    """
    until = {
        "80sec": (8, 10),
        "19pct": (120, 130, 140),
        "18pct": (120, 130, 140),
        "13pct": (500, 510, 520),
        "11pct": (500, 510, 520),
    }
    *drops, epochs = until[layers]
    return Recipe(
        name=layers,
        epochs=epochs,
        batch=128,
        rate=0.001,
        schedule="step",
        init="published",
        pixel_scale=1.0,
        weight_decay=DECAY,
        milestones=tuple(epoch / epochs for epoch in drops),
    )


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
        schedule="onecycle",
        init="he",
        pixel_scale=1 / 64,  # about the standard deviation of gray levels
    )


@dataclass(frozen=True)
class Changes:
    """What a spec asks for in place of the recipe's own; None leaves it. Raises UserError for both epochs and updates."""

    epochs: int | None = None
    updates: int | None = None
    optimizer: Optimizer | None = None
    schedule: ScheduleName | None = None
    rate: float | None = None
    weight_decay: float | None = None
    init: Init | None = None
    precision: Precision | None = None

    def __post_init__(self) -> None:
        if self.epochs is not None and self.updates is not None:
            raise UserError(
                f"epochs={self.epochs} and updates={self.updates} both say how long to train: give one of the two"
            )


def changed(recipe: Recipe, changes: Changes, n: int) -> Recipe:
    """The recipe with these changes for `n` training images, told in its name. Adam and AdamW bring values of their own: a rate of 0.001, as
    their papers have it, and AdamW a weight decay of 0.01.
    """
    given = {name: value for name, value in vars(changes).items() if value is not None}
    words = [
        f"{name}={value}" for name, value in given.items() if name not in ("epochs", "updates")
    ]
    own: dict[str, float] = {}
    if changes.optimizer in ("adam", "adamw"):
        own["rate"] = 0.001
    if changes.optimizer == "adamw":
        own["weight_decay"] = 0.01
    if changes.updates is not None:
        own["epochs"] = math.ceil(changes.updates / (n // min(recipe.batch, n)))
    return replace(
        recipe,
        **{**own, **given},
        name=" with ".join([recipe.name, *([", ".join(words)] if words else [])]),
    )
