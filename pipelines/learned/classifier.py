"""A network as a pipeline: from a split to a trained network, from a batch to log-probabilities."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from harness.contract import Batch, Context, Probe, Split, State, UserError
from pipelines._mirroring import may_mirror
from pipelines.learned.augmentation import (
    Augmentation,
    Center,
    CenterCrop,
    ColorNoise,
    ColorScale,
    PixelStatistics,
    RandomCrop,
    RandomFlip,
    Scale,
    pixel_sums,
    views,
)
from pipelines.learned.designs import Design
from pipelines.learned.exchange import Exchange
from pipelines.learned.images import resident_bytes, square, squares
from pipelines.learned.networks.network import Network
from pipelines.learned.parallel import Mode, part_of
from pipelines.learned.precision import mixes
from pipelines.learned.pretrained import start_from
from pipelines.learned.recipe import Recipe
from pipelines.learned.train import Task, Trainer

PROBE_IMAGES = 2048  # of train, and of tune, that `probe` looks at


@dataclass(frozen=True)
class Sight:
    """How a network is shown an image, in training and at test; `pipelines.alexnet.build` says what the keys mean."""

    crops: bool
    flip: bool | None
    color: bool
    views: int
    color_scale: ColorScale = "paper"


class NetworkPipeline:
    """The contract's four methods, and what it leaves open: `layers`, `views`, `embed`, `epochs` and `probe`."""

    def __init__(
        self, design: Design, sight: Sight, *, init_from: str | None = None, parallel: Mode = "data"
    ) -> None:
        """`init_from` is the run whose layers the network starts from where they fit; None: from random weights. `parallel` is how
        several processes share the training.
        """
        self.design, self.sight, self.init_from, self.parallel = design, sight, init_from, parallel
        self.network: Network
        self.pixels: PixelStatistics
        self.pixel_scale = 1.0
        self.mirrored = (
            sight.flip is not False
        )  # in training and at test; where `flip` leaves it open, `fit` finds out

    @property
    def views(self) -> int:
        """Crops of an image whose softmax `scores` averages."""
        chosen = self.sight
        return 1 if chosen.views == 1 else (5 if chosen.crops else 1) * (2 if self.mirrored else 1)

    @property
    def augmentation(self) -> tuple[str, ...]:
        """How training images are varied."""
        chosen = self.sight
        mirroring = "mirroring by tune" if chosen.flip is None else "mirroring"
        words = {"crops": chosen.crops, mirroring: self.mirrored, "color": chosen.color}
        return tuple(word for word, asked in words.items() if asked)

    def fit(self, train: Split, tune: Split | None, context: Context) -> None:
        recipe = self._recipe(train, tune)
        self._start(train, recipe, context)
        self._trainer(*self._looked_at(train, tune, context), recipe, context).run()

    def epochs(self, images: int, image_size: tuple[int, int] | None) -> float:
        """Passes over so many training images of (height, width) pixels, or None for several sizes, that `fit` does at most."""
        recipe = self.design.recipe(images, self.design.side(image_size))
        return (
            recipe.updates / (images // min(recipe.batch, images))
            if recipe.updates
            else recipe.epochs
        )

    def probe(self, train: Split, tune: Split | None, context: Context) -> Probe:
        """Prepares, and times updates, on some of the images as a fit of all would; the rest takes as long an image. Scoring an image of
        tune takes a third of training on one, as its multiply-adds do.
        """
        recipe = self._recipe(train, tune)
        self._start(train, recipe, context)
        started = time.perf_counter()
        sizes = len(train), len(tune) if tune else 0
        sample = self._looked_at(_sample(train), tune and _sample(tune), context, of=sizes)
        preparation = (
            (time.perf_counter() - started) * sum(sizes) / sum(map(len, filter(None, sample)))
        )
        trainer = self._trainer(*sample, recipe, context)
        updates = sizes[0] // trainer.batch + sizes[1] / trainer.batch / 3
        unseen = sum(
            resident_bytes(n, self.pixels.side) * (n - len(part)) // n
            for n, part in zip(sizes, sample, strict=True)
            if part
        )
        return Probe(
            preparation, updates * trainer.seconds_an_update(), trainer.checkpoint_bytes, unseen
        )

    def _recipe(self, train: Split, tune: Split | None) -> Recipe:
        recipe = self.design.recipe(len(train), self.design.side(train.image_size))
        if tune is None and recipe.schedule == "plateau":
            raise UserError(
                f"recipe {recipe.name} lowers its learning rate by the error on tune, and --tune 0 left no tune split: hold images out, or take schedule=step"
            )
        return recipe

    def _looked_at(
        self,
        train: Split,
        tune: Split | None,
        context: Context,
        *,
        of: tuple[int, int] | None = None,
    ) -> tuple[Split, Split | None]:
        """Squares of both, after a look at what their pixels are like. `of`: they are samples of so many images of train and of tune."""
        side = self.design.side(train.image_size)
        if self.sight.flip is None:
            self.mirrored = may_mirror(train, tune, context)
        of_train, of_tune = of or (len(train), len(tune or ()))
        train_squares = squares(train, side, context.device, of=of_train)
        self.pixels = self._statistics(train_squares, context)
        return train_squares, None if tune is None else squares(
            tune, side, context.device, of=of_tune
        )

    def _start(self, train: Split, recipe: Recipe, context: Context) -> None:
        """The network before its first update. What is wrong with `init_from` and `parallel` is told before the images are looked at."""
        self.pixel_scale = recipe.pixel_scale
        self.network = self.design.network(train.num_classes, self.design.side(train.image_size))
        part_of(self.network, self.parallel, Exchange(context), min(recipe.batch, len(train)))
        self.network.initialize(recipe.init, torch.Generator().manual_seed(context.seed))
        if self.init_from:
            learned = context.load_run(self.init_from)
            new = start_from(
                self.network, learned, class_names=train.class_names, pixel_scale=self.pixel_scale
            )
            context.note(
                f"pre-trained on {learned.dataset} ({learned.run_id}); new layers: {', '.join(new) or 'none'}"
            )
        self.network.to(context.device)

    def _trainer(
        self, train: Split, tune: Split | None, recipe: Recipe, context: Context
    ) -> Trainer:
        """Of squares that were looked at."""
        self._note(recipe, self.pixels.side, len(train), context)
        task = Task(
            train=train, tune=tune, augment=self._augmentation(), predict=self._center_logits
        )
        return Trainer(self.network, task, recipe, context, self.parallel)

    @torch.inference_mode()
    def scores(self, batch: Batch) -> torch.Tensor:
        """(n, classes) float32: the logarithm of the softmax averaged over the views."""
        images = self._input(square(batch.images, self.pixels.side).to(batch.index.device))
        chosen = self.sight
        crops = views(
            images,
            self.network.crop,
            corners=chosen.crops and chosen.views > 1,
            mirrored=self.mirrored and chosen.views > 1,
        )
        logs = torch.stack([self.network(crop).log_softmax(1) for crop in crops])
        return logs.logsumexp(0) - math.log(len(logs))

    @torch.inference_mode()
    def embed(self, batch: Batch) -> torch.Tensor:
        """(n, d) float32: the last hidden layer's values for the center of each image."""
        images = self._input(square(batch.images, self.pixels.side).to(batch.index.device))
        return self.network.hidden(CenterCrop(self.network.crop)(images)).float()

    def filters(self) -> dict[str, np.ndarray]:
        """Name -> (n, 3, height, width) weights of the first layer, by column."""
        return {
            name: weights.float().cpu().numpy() for name, weights in self.network.filters().items()
        }

    def state(self) -> State:
        network = {f"network.{name}": array for name, array in self.network.state_dict().items()}
        return {
            **network,
            **self.pixels.state(),
            "classes": torch.tensor(self.network.classes),
            "pixel_scale": torch.tensor(self.pixel_scale, dtype=torch.float64),
            "mirrored": torch.tensor(self.mirrored),
        }

    def load(self, state: State) -> None:
        self.pixels = PixelStatistics.load(state)
        self.pixel_scale = float(state["pixel_scale"])
        self.mirrored = bool(state["mirrored"])
        network = {
            name.removeprefix("network."): array
            for name, array in state.items()
            if name.startswith("network.")
        }
        self.network = self.design.network(int(state["classes"]), self.pixels.side).to(
            self.pixels.mean.device
        )
        self.network.load_state_dict(network)

    def layers(self, classes: int, image_size: tuple[int, int] | None) -> list[dict[str, Any]]:
        """One dict a layer, for one view: `name`, `output` (shape), `parameters`, `multiply_adds`. `image_size` is (height, width) in pixels."""
        with torch.device("meta"):
            return self.design.network(classes, self.design.side(image_size)).layers()

    def _statistics(self, train: Split, context: Context) -> PixelStatistics:
        """Each process keeps the sums over its own share, so that one that finds them in the cache still meets the others in `sum`."""
        assert train.image_size
        side = train.image_size[0]

        def gather() -> State:
            batches = (batch.images for batch in train.batches(256, device=context.device))
            return {"sums": pixel_sums(batches, side, context.device)}  # type: ignore[arg-type]

        sums = context.cache({"stage": "pixel sums", "split": train.digest, "side": side}, gather)[
            "sums"
        ]
        return PixelStatistics.of(context.sum(sums.to(context.device)), len(train))

    def _augmentation(self) -> Sequence[Augmentation]:
        chosen, size = self.sight, self.network.crop
        steps: list[Augmentation] = [
            Center(self.pixels.mean),
            RandomCrop(size) if chosen.crops else CenterCrop(size),
        ]
        if self.mirrored:
            steps.append(RandomFlip())
        if chosen.color:
            steps.append(ColorNoise.of(self.pixels, chosen.color_scale))
        return [*steps, Scale(self.pixel_scale)]

    def _input(self, squares: torch.Tensor) -> torch.Tensor:
        """Squares as the network was trained on, before cropping."""
        return Scale(self.pixel_scale)(Center(self.pixels.mean)(squares))

    def _center_logits(self, squares: torch.Tensor) -> torch.Tensor:
        return self.network(CenterCrop(self.network.crop)(self._input(squares)))

    def _note(self, recipe: Recipe, side: int, n: int, context: Context) -> None:
        if self.design.variant(side):
            millions = sum(p.numel() for p in self.network.parameters()) / 1e6
            context.note(f"{side} px variant, {millions:.1f} M params")
        epochs = f"{recipe.epochs} epochs of {n // min(recipe.batch, n)} updates"
        context.note(
            f"recipe {recipe.name}: {f'{recipe.updates:,} updates' if recipe.updates else epochs}"
        )
        if self.sight.flip is None and not self.mirrored:
            context.note("no mirroring: on tune it changes the class")
        if mixes(context.device, recipe.precision):
            context.note("products in bfloat16")
        if later := (*self.design.later, *recipe.later):
            context.note(f"post-2012: {', '.join(later)}")


def _sample(split: Split) -> Split:
    """PROBE_IMAGES images from all over the split."""
    return split.take(np.linspace(0, len(split) - 1, min(len(split), PROBE_IMAGES), dtype=np.int64))
