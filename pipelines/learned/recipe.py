"""Training recipes: every number of how a network is trained, with its unit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from harness.contract import UserError
from pipelines.learned.networks.cuda_convnet import BASE_WEIGHT_DECAY, Layers
from pipelines.learned.networks.network import Init
from pipelines.learned.precision import Precision

OptimizerName = Literal["paper-sgd", "sgd", "adam", "adamw"]
ScheduleName = Literal["plateau", "step", "cosine", "onecycle"]

# Optimizers, schedules and initializations that are more recent than 2012, as notes call them.
POST_2012 = {
    "onecycle": "one-cycle schedule",
    "cosine": "cosine schedule",
    "he": "He init",
    "adam": "Adam",
    "adamw": "AdamW",
}


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of stochastic gradient descent and of its learning-rate schedule."""

    name: str
    epochs: int  # passes over the training images; with `updates` the last one is cut short
    batch_size: int  # images per update, over all processes
    lr: float  # learning rate for the mean loss over the batch; the peak of the schedule
    schedule: ScheduleName
    init: Init
    pixel_scale: float  # factor for gray levels (0 to 255) less the mean image
    batch_lr_exponent: float = 1.0  # power of a change in batch size that multiplies the rate
    optimizer: OptimizerName = "paper-sgd"
    momentum: float = 0.9  # share of the velocity that an update keeps
    weight_decay: float = 0.0005  # share of a weight, times the learning rate, lost per update
    constant_bias_lr: bool = False  # whether the biases keep the first learning rate
    max_drops: int = 3  # plateau: how often the learning rate is divided by 10
    patience: int = 4  # plateau: epochs whose mean tune error has to fall, at least
    patience_updates: int = 1800  # plateau: their updates, at one update per epoch and tune image
    milestones: tuple[float, ...] = (1 / 4, 1 / 2, 3 / 4)  # step: shares of all updates of drops
    drop_factor: float = 10.0  # step: what a drop divides the learning rate by
    warm_up: float = 0.2  # onecycle: share of all updates over which the learning rate rises
    updates: int | None = None  # total, in place of `epochs`; the best weights on tune are kept
    precision: Precision = "auto"  # of products in training; auto: bfloat16 where in hardware

    @property
    def post_2012(self) -> tuple[str, ...]:
        """The parts of the recipe that are more recent than 2012."""
        parts = (self.optimizer, self.schedule, self.init)
        return tuple(POST_2012[part] for part in parts if part in POST_2012)

    def updates_per_epoch(self, n_train: int) -> int:
        """Return the full batches in an epoch of `n_train` images, or 1 of all images."""
        return n_train // min(self.batch_size, n_train)


RECIPE_2012 = Recipe(
    name="2012",
    epochs=90,
    batch_size=128,
    lr=0.01,
    schedule="plateau",
    init="published",
    pixel_scale=1.0,
)
"""Krizhevsky et al. 2012, section 5.

The authors judged plateaus by eye, here `pipelines.learned.schedule.Plateau` does. With the 10,009
updates in an epoch of ILSVRC-2012 it compares four epochs with four; with short epochs and few tune
images more, such as 12 for 66 updates and 947 images.
"""

RECIPE_CODE = replace(
    RECIPE_2012,
    name="code",
    schedule="step",
    milestones=(25 / 90, 51 / 90, 79 / 90),
    constant_bias_lr=True,
)
"""`layer-params-145.cfg` of the code of the paper's author, with the log at its end.

He set the learning rate by hand: of the weights to a tenth in epochs 25, 51 and 79, of the biases
never. Left out is what he did to finish in epochs 67 to 90: conv1 learned at a tenth of the others'
rate, then not at all, and without color noise. The code also crops and flips 32 images at a time
alike and reads the images of an epoch in the same order; here both are drawn per image.
"""

RECIPE_ONE_TOWER = replace(RECIPE_2012, name="2014", schedule="step", drop_factor=250 ** (1 / 3))
"""`layer-params-imagenet-1gpu.cfg` of cuda-convnet2.

The learning rate falls to 1/250 in four steps. In that file the biases have a schedule of their own
(divided by 10 once, half way); here they follow the weights.
"""

RECIPE_CAFFE = replace(
    RECIPE_2012,
    name="caffe",
    batch_size=256,
    schedule="step",
    milestones=tuple(update / 450_000 for update in (100_000, 200_000, 300_000, 400_000)),
)
"""`models/bvlc_reference_caffenet/solver.prototxt` of Caffe.

450,000 updates of 256 images are 89.9 epochs of ILSVRC-2012.
"""


def cuda_convnet_recipe(layers: Layers) -> Recipe:
    """Return the schedule that the parameter files of cuda-convnet name.

    80sec has 8 epochs before the learning rate is divided by 10; the file does not say when to
    stop. 18pct and 11pct are as in their files, but without folding in 11pct's validation batch
    half way, and the learning rate of the biases falls with that of the weights, where there it
    stays. The files of 19pct and 13pct name no schedule and get those of 18pct and 11pct.
    """
    boundaries = {
        "80sec": (8, 10),
        "19pct": (120, 130, 140),
        "18pct": (120, 130, 140),
        "13pct": (500, 510, 520),
        "11pct": (500, 510, 520),
    }
    *drops, epochs = boundaries[layers]
    return Recipe(
        name=layers,
        epochs=epochs,
        batch_size=128,
        lr=0.001,
        schedule="step",
        init="published",
        pixel_scale=1.0,
        weight_decay=BASE_WEIGHT_DECAY,
        milestones=tuple(epoch / epochs for epoch in drops),
    )


def short_recipe(n_train: int, side: int) -> Recipe:
    """Return a recipe for small images and a short time.

    epochs: 379 (side / 32)^(1/4) / n^(1/4), which is 26 for 45,000 images of 32 pixels and 65 for
    1,167. Fewer images need more passes and larger ones hold more to learn, but both slowly: the
    number of updates still grows with n. The exponent of n comes from two held-out quarters of the
    1,297 training digits: 65 epochs left errors of 2.5 and 1.9 %, 43 epochs 4.0 and 4.6 % (one
    seed).

    batch_size: n / 32 images, at least 16 and at most the paper's 128, so that an epoch has 32
    updates or more.

    lr: 0.08 for batches of 128, otherwise in proportion to the root of the batch size, as the noise
    of the gradient is.

    Parameters
    ----------
    n_train : int
        Number of training images.
    side : int
        Their pixels per side.
    """
    batch_size = max(16, min(128, n_train // 32))
    return Recipe(
        name="short",
        epochs=max(1, round(379 * (side / 32) ** 0.25 / n_train**0.25)),
        batch_size=batch_size,
        lr=0.08 * (batch_size / 128) ** 0.5,
        batch_lr_exponent=0.5,
        schedule="onecycle",
        init="he",
        pixel_scale=1 / 64,  # about 1 / the standard deviation of gray levels
    )


@dataclass(frozen=True)
class RecipeOverrides:
    """What a spec sets in place of the recipe's own values; None keeps those.

    Raises
    ------
    UserError
        If both `epochs` and `updates` are given.
    """

    epochs: int | None = None
    updates: int | None = None
    batch: int | None = None
    optimizer: OptimizerName | None = None
    schedule: ScheduleName | None = None
    lr: float | None = None
    weight_decay: float | None = None
    init: Init | None = None
    precision: Precision | None = None

    def __post_init__(self) -> None:
        if self.epochs is not None and self.updates is not None:
            raise UserError(
                f"epochs={self.epochs} and updates={self.updates} both set the length of training: "
                "give one of the two"
            )


def apply_overrides(recipe: Recipe, overrides: RecipeOverrides, n_train: int) -> Recipe:
    """Return the recipe with overrides, which its name then lists.

    Adam and AdamW bring defaults of their own: a learning rate of 0.001, as in their papers, and
    for AdamW a weight decay of 0.01.

    Another batch size changes the learning rate, unless that is given too: by the same factor, or
    by its root with Adam and where the recipe says so. The root keeps the variance of an update,
    but with momentum the factor itself trains networks of 2012 better (Krizhevsky 2014, section 5;
    Goyal et al. 2017, section 2.1). For Adam the root is derived by Malladi et al. 2022.

    Parameters
    ----------
    recipe : Recipe
    overrides : RecipeOverrides
    n_train : int
        Number of training images, which says how many epochs `updates` are.
    """
    given = {name: value for name, value in vars(overrides).items() if value is not None}
    listed = {name: given[name] for name in given if name not in ("epochs", "updates")}
    defaults: dict[str, float] = {}
    if overrides.optimizer in ("adam", "adamw"):
        recipe = replace(recipe, lr=0.001, batch_lr_exponent=0.5)
    if overrides.batch is not None:
        batch_size = given.pop("batch")
        factor = min(batch_size, n_train) / min(recipe.batch_size, n_train)
        lr = recipe.lr * factor**recipe.batch_lr_exponent
        recipe = replace(recipe, batch_size=batch_size, lr=lr)
    if overrides.optimizer == "adamw":
        defaults["weight_decay"] = 0.01
    if overrides.schedule in ("cosine", "onecycle"):
        defaults["constant_bias_lr"] = False
    if overrides.updates is not None:
        defaults["epochs"] = math.ceil(overrides.updates / recipe.updates_per_epoch(n_train))
    name = recipe.name
    if listed:
        name += " with " + ", ".join(f"{key}={value}" for key, value in listed.items())
    return replace(recipe, **{**defaults, **given, "name": name})
