"""AlexNet as a pipeline: from a split to a trained network, from a batch to log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from harness.contract import Batch, Context, Split, State, UserError
from pipelines._mirroring import may_mirror
from pipelines.learned.augmentation import (
    Augmentation,
    Centre,
    CentreCrop,
    ColourNoise,
    PixelStatistics,
    RandomCrop,
    RandomFlip,
    Scale,
    pixel_sums,
    views,
)
from pipelines.learned.images import Squares, square
from pipelines.learned.networks.alexnet import FULL, Activation, AlexNet, Pool, small
from pipelines.learned.recipe import RECIPE_2012, Recipe, short, with_epochs
from pipelines.learned.train import Task, Trainer

FULL_FROM = 128  # pixels on the shorter side: from here on images are brought to the size that the paper used
FULL_SIDE = 256  # pixels: what the paper resizes the shorter side to
SMALLEST_SIDE = 32  # pixels: smaller images are enlarged to this


@dataclass(frozen=True)
class Settings:
    """The keys of the spec; see `pipelines.alexnet.build`."""

    recipe: Literal["auto", "2012", "short"]
    lrn: bool
    pool: Pool
    activation: Activation
    columns: int
    dropout: float
    crops: bool
    flip: bool | None
    colour: bool
    views: int
    epochs: int | None


class AlexNetPipeline:
    """The contract's four methods, and `layers`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.small = small  # the variant below 128 pixels; `benchmarks.alexnet_stem` puts others in its place
        self.network: AlexNet
        self.pixels: PixelStatistics
        self.pixel_scale = 1.0
        self.mirrored = settings.flip is not False  # in training and at test; where `flip` leaves it open, `fit` finds out

    @property
    def views(self) -> int:
        """Crops of an image whose softmax `scores` averages."""
        chosen = self.settings
        return 1 if chosen.views == 1 else (5 if chosen.crops else 1) * (2 if self.mirrored else 1)

    def fit(self, train: Split, tune: Split | None, context: Context) -> None:
        side = square_side(train.image_size)
        recipe = self._recipe(len(train), side)
        if tune is None and recipe.schedule == "plateau":
            raise UserError(
                "recipe=2012 lowers its learning rate by the error on tune, and --tune 0 left no tune split: hold images out, or take recipe=short"
            )
        if self.settings.flip is None:
            self.mirrored = may_mirror(train, tune, context)
        squares = Squares(train, side, context.device)
        self.pixels = self._statistics(train, squares, context)
        self.pixel_scale = recipe.pixel_scale
        self.network = self._network(train.classes, side)
        self.network.initialise(recipe.init, torch.Generator().manual_seed(context.seed))
        self.network.to(context.device)
        self._note(recipe, side, context)
        tune_squares = None if tune is None else Squares(tune, side, context.device)
        task = Task(
            train=squares, tune=tune_squares, classes=train.classes, augment=self._augmentation(), predict=self._centre_logits
        )
        Trainer(self.network, task, recipe, context).run()

    @torch.inference_mode()
    def scores(self, batch: Batch) -> torch.Tensor:
        """(n, classes) float32: the logarithm of the softmax averaged over the views."""
        images = self._input(square(batch.images, self.pixels.side).to(batch.index.device))
        chosen = self.settings
        crops = views(
            images, self.network.crop, corners=chosen.crops and chosen.views > 1, mirrored=self.mirrored and chosen.views > 1
        )
        logs = torch.stack([self.network(crop).log_softmax(1) for crop in crops])
        return logs.logsumexp(0) - math.log(len(logs))

    def state(self) -> State:
        network = {f"network.{name}": array for name, array in self.network.state_dict().items()}
        return {
            **network,
            **self.pixels.state(),
            "pixel_scale": torch.tensor(self.pixel_scale, dtype=torch.float64),
            "mirrored": torch.tensor(self.mirrored),
        }

    def load(self, state: State) -> None:
        self.pixels = PixelStatistics.load(state)
        self.pixel_scale = float(state["pixel_scale"])
        self.mirrored = bool(state["mirrored"])
        network = {name.removeprefix("network."): array for name, array in state.items() if name.startswith("network.")}
        self.network = self._network(len(network["fc8.bias"]), self.pixels.side).to(self.pixels.mean.device)
        self.network.load_state_dict(network)

    def layers(self, classes: int, image_size: tuple[int, int] | None) -> list[dict[str, Any]]:
        """One dict a layer, for one view: `name`, `output` (shape), `parameters`, `multiply_adds`. `image_size` is (height, width) in pixels."""
        with torch.device("meta"):
            return self._network(classes, square_side(image_size)).layers()

    def _network(self, classes: int, side: int) -> AlexNet:
        chosen, crop = self.settings, crop_side(side)
        return AlexNet(
            FULL if side >= FULL_FROM else self.small(crop),
            crop=crop, classes=classes, columns=chosen.columns, lrn=chosen.lrn, pool=chosen.pool,
            activation=chosen.activation, dropout=chosen.dropout,
        )  # fmt: skip

    def _recipe(self, n: int, side: int) -> Recipe:
        full = side >= FULL_FROM
        paper = self.settings.recipe == "2012" or (self.settings.recipe == "auto" and full)
        return with_epochs(RECIPE_2012 if paper else short(n, side), self.settings.epochs)

    def _statistics(self, train: Split, squares: Squares, context: Context) -> PixelStatistics:
        """Each process keeps the sums over its own share, so that one that finds them in the cache still meets the others in `sum`."""

        def gather() -> State:
            own = np.arange(len(squares))[context.rank :: context.world]
            return {"sums": pixel_sums((images for images, _ in squares.batches(256, own)), squares.side, context.device)}

        sums = context.cache({"stage": "pixel sums", "split": train.digest, "side": squares.side}, gather)["sums"]
        return PixelStatistics.of(context.sum(sums.to(context.device)), len(squares))

    def _augmentation(self) -> Sequence[Augmentation]:
        chosen, size = self.settings, self.network.crop
        steps: list[Augmentation] = [Centre(self.pixels.mean), RandomCrop(size) if chosen.crops else CentreCrop(size)]
        if self.mirrored:
            steps.append(RandomFlip())
        if chosen.colour:
            steps.append(ColourNoise(self.pixels.directions, self.pixels.variances))
        return [*steps, Scale(self.pixel_scale)]

    def _input(self, squares: torch.Tensor) -> torch.Tensor:
        """Squares as the network was trained on, before cropping."""
        return Scale(self.pixel_scale)(Centre(self.pixels.mean)(squares))

    def _centre_logits(self, squares: torch.Tensor) -> torch.Tensor:
        return self.network(CentreCrop(self.network.crop)(self._input(squares)))

    def _note(self, recipe: Recipe, side: int, context: Context) -> None:
        if side < FULL_FROM:
            millions = sum(p.numel() for p in self.network.parameters()) / 1e6
            context.note(f"{side} px variant, {millions:.1f} M params")
        context.note(f"recipe {recipe.name}: {recipe.epochs} epochs")
        if self.settings.flip is None and not self.mirrored:
            context.note("no mirroring: on tune it changes the class")
        if recipe.later:
            context.note(f"post-2012: {', '.join(recipe.later)}")


def square_side(image_size: tuple[int, int] | None) -> int:
    """Pixels a side of the squares that crops are taken from: the paper's 256 for images of 128 pixels or more, or of several sizes."""
    if image_size is None or min(image_size) >= FULL_FROM:
        return FULL_SIDE
    return max(SMALLEST_SIDE, min(image_size))


def crop_side(side: int) -> int:
    """Pixels a side of a crop: 7/8 of the square's, as 224 is of 256."""
    return side * 7 // 8
