"""A network as a pipeline: from a split to a trained network, from a batch to log-probabilities."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from harness.contract import Batch, Context, Probe, Split, State, UserError
from pipelines._flip_invariance import is_flip_invariant
from pipelines.learned.augmentation import (
    Augmentation,
    CenterCrop,
    ColorNoise,
    ColorScale,
    MeanCrop,
    PixelStatistics,
    RandomCrop,
    RandomFlip,
    Scale,
    SubtractMean,
    pixel_sums,
    view_offsets,
    views,
)
from pipelines.learned.collectives import Collectives
from pipelines.learned.designs import Design
from pipelines.learned.malloc import keep_freed_memory
from pipelines.learned.networks.network import Network
from pipelines.learned.parallel import ParallelMode, shard_network
from pipelines.learned.precision import at_least_float32, evaluation_precision, uses_bfloat16
from pipelines.learned.pretrained import load_pretrained_layers
from pipelines.learned.recipe import Recipe
from pipelines.learned.shared_views import can_share, logits_of_crops
from pipelines.learned.square_images import resident_bytes, square_split, to_squares
from pipelines.learned.trainer import Trainer, TrainingTask

CACHED_IMAGES = 16  # whose views a CPU scores at a time; more gain no speed
PROBE_IMAGES = 2048  # of train and of tune that `probe` reads at most


@dataclass(frozen=True)
class ViewConfig:
    """How a network sees an image in training and at test time.

    `pipelines.alexnet.build` explains most fields. `mean` is the part of the mean image that is
    subtracted from a crop: "paper" the part at the same place, "code" the center's, after flips.
    """

    crops: bool
    flip: bool | None
    color: bool
    views: int
    color_scale: ColorScale = "paper"
    mean: MeanCrop = "paper"


class NetworkPipeline:
    """A network and its recipe behind the harness's contract.

    Besides the contract's methods it has the optional `layers`, `views`, `augmentation`, `filters`,
    `embed`, `epochs` and `probe`.

    Parameters
    ----------
    design : Design
        Chooses the network and the recipe.
    view_config : ViewConfig
    init_from : str, optional
        Run whose layers the network starts from where they fit; None starts from random weights.
    parallel : {"data", "model", "hybrid"}
        How several processes share the training.

    Attributes
    ----------
    network : Network
    pixels : PixelStatistics
        Of the training images.
    pixel_scale : float
        Factor for gray levels less the mean image.
    flip : bool
        Whether images are flipped in training and at test time. If `view_config` leaves it open,
        `fit` decides.
    """

    def __init__(
        self,
        design: Design,
        view_config: ViewConfig,
        *,
        init_from: str | None = None,
        parallel: ParallelMode = "data",
    ) -> None:
        self.design, self.view_config = design, view_config
        self.init_from, self.parallel = init_from, parallel
        self.network: Network
        self.pixels: PixelStatistics
        self.pixel_scale = 1.0
        self.flip = view_config.flip is not False

    @property
    def views(self) -> int:
        """Number of crops whose softmax `scores` averages per image."""
        if self.view_config.views == 1:
            return 1
        return (5 if self.view_config.crops else 1) * (2 if self.flip else 1)

    @property
    def augmentation(self) -> tuple[str, ...]:
        """The kinds of augmentation of the training images."""
        config = self.view_config
        flips = "flips by tune" if config.flip is None else "flips"
        is_used = {"crops": config.crops, flips: self.flip, "color": config.color}
        return tuple(kind for kind, used in is_used.items() if used)

    def fit(self, train: Split, tune: Split | None, context: Context) -> None:
        recipe = self._recipe(train, tune)
        self._make_network(train, recipe, context)
        train, tune = self._prepare_splits(train, tune, context)
        self._make_trainer(train, tune, recipe, context).run()

    @torch.inference_mode()
    def scores(self, batch: Batch) -> torch.Tensor:
        """Return (n, classes) float32: the logarithm of the softmax averaged over the views."""
        config = self.view_config
        has_views = config.views > 1
        corners, flips = config.crops and has_views, self.flip and has_views
        squares = self._squares(batch)
        with evaluation_precision(squares.device, self.design.precision):
            logits = self._logits_of_views(squares, corners=corners, flips=flips)
        log_softmax = at_least_float32(logits).log_softmax(2)
        return log_softmax.logsumexp(0) - math.log(len(log_softmax))

    def state(self) -> State:
        network = {f"network.{name}": array for name, array in self.network.state_dict().items()}
        return {
            **network,
            **self.pixels.state(),
            "num_classes": torch.tensor(self.network.num_classes),
            "pixel_scale": torch.tensor(self.pixel_scale, dtype=torch.float64),
            "flip": torch.tensor(self.flip),
        }

    def load(self, state: State) -> None:
        self.pixels = PixelStatistics.load(state)
        self.pixel_scale = float(state["pixel_scale"])
        self.flip = bool(state["flip"])
        network = self.design.network(int(state["num_classes"]), self.pixels.side)
        self.network = network.to(self.pixels.mean.device)
        names = [name for name in state if name.startswith("network.")]
        network.load_state_dict({name.removeprefix("network."): state[name] for name in names})

    def epochs(self, images: int, image_size: tuple[int, int] | None) -> float:
        """Return the largest number of passes over the training images that `fit` does.

        Parameters
        ----------
        images : int
            Number of training images.
        image_size : (int, int) or None
            (height, width) in pixels; None for images of several sizes.
        """
        recipe = self.design.recipe(images, self.design.square_side(image_size))
        if recipe.updates:
            return recipe.updates / recipe.updates_per_epoch(images)
        return recipe.epochs

    def probe(self, train: Split, tune: Split | None, context: Context) -> Probe:
        """Estimate what `fit` takes from preparation and updates on some of the images.

        The other images are assumed to take as long each. Scoring a tune image takes a third of
        training on one, as its multiply-adds do.
        """
        recipe = self._recipe(train, tune)
        self._make_network(train, recipe, context)
        started = time.perf_counter()
        totals = len(train), len(tune) if tune else 0
        samples = self._prepare_splits(_sample(train), tune and _sample(tune), context, totals)
        seconds_per_image = (time.perf_counter() - started) / _count_images(samples)
        trainer = self._make_trainer(*samples, recipe, context)
        updates = totals[0] // trainer.batch_size + totals[1] / trainer.batch_size / 3
        unseen_bytes = 0
        for total, sample in zip(totals, samples, strict=True):
            if sample:
                total_bytes = resident_bytes(total, self.pixels.side)
                unseen_bytes += total_bytes * (total - len(sample)) // total
        return Probe(
            seconds_per_image * sum(totals),
            updates * trainer.seconds_per_update(),
            trainer.checkpoint_bytes,
            unseen_bytes,
        )

    @torch.inference_mode()
    def embed(self, batch: Batch) -> torch.Tensor:
        """Return (n, d) float32: the last hidden layer's output for the center of each image."""
        return self.network.hidden(self._center_view(self._squares(batch))).float()

    def filters(self) -> dict[str, np.ndarray]:
        """Return the weights of the first layer, (n, 3, height, width), by column."""
        filters = self.network.filters()
        return {name: weights.float().cpu().numpy() for name, weights in filters.items()}

    def layers(self, classes: int, image_size: tuple[int, int] | None) -> list[dict[str, Any]]:
        """Return one dict per layer, for one view.

        Keys are `name`, `output` (shape), `parameters` and `multiply_adds`. `image_size` is
        (height, width) in pixels, None for images of several sizes.
        """
        with torch.device("meta"):
            return self.design.network(classes, self.design.square_side(image_size)).layers()

    def _recipe(self, train: Split, tune: Split | None) -> Recipe:
        recipe = self.design.recipe(len(train), self.design.square_side(train.image_size))
        if tune is None and recipe.schedule == "plateau":
            raise UserError(
                f"recipe {recipe.name} lowers its learning rate by the error on tune, and there is "
                "no tune split (--tune 0): hold images out, or use schedule=step"
            )
        return recipe

    def _make_network(self, train: Split, recipe: Recipe, context: Context) -> None:
        """Initialize the network; wrong `init_from` and `parallel` raise before images are read."""
        self.pixel_scale = recipe.pixel_scale
        side = self.design.square_side(train.image_size)
        self.network = self.design.network(train.num_classes, side)
        batch_size = min(recipe.batch_size, len(train))
        shard_network(self.network, self.parallel, Collectives(context), batch_size)
        self.network.initialize(recipe.init, torch.Generator().manual_seed(context.seed))
        if self.init_from:
            run = context.load_run(self.init_from)
            new = load_pretrained_layers(
                self.network, run, class_names=train.class_names, pixel_scale=self.pixel_scale
            )
            new_layers = ", ".join(new) or "none"
            context.note(f"pre-trained on {run.dataset} ({run.run_id}); new layers: {new_layers}")
        self.network.to(context.device)

    def _prepare_splits(
        self,
        train: Split,
        tune: Split | None,
        context: Context,
        totals: tuple[int, int] | None = None,
    ) -> tuple[Split, Split | None]:
        """Return both splits as squares; set `flip` and `pixels` from what the images show.

        `totals` are the numbers of images of train and tune that the splits are samples of.
        """
        side = self.design.square_side(train.image_size)
        if self.view_config.flip is None:
            self.flip = is_flip_invariant(train, tune, context)
        train_total, tune_total = totals or (len(train), len(tune or ()))
        train = square_split(train, side, context.device, total=train_total)
        self.pixels = self._pixel_statistics(train, context)
        if tune is not None:
            tune = square_split(tune, side, context.device, total=tune_total)
        return train, tune

    def _pixel_statistics(self, train: Split, context: Context) -> PixelStatistics:
        """Return the statistics of the training pixels over all processes.

        Each process caches the sums over its own share, so that one that finds them in the cache
        still takes part in the sum over processes.
        """
        assert train.image_size
        side = train.image_size[0]

        def make() -> State:
            batches = (batch.images for batch in train.batches(256, device=context.device))
            return {"sums": pixel_sums(batches, side, context.device)}  # type: ignore[arg-type]

        key = {"stage": "pixel sums", "split": train.digest, "side": side}
        sums = context.cache(key, make)["sums"]
        return PixelStatistics.from_sums(context.sum(sums.to(context.device)), len(train))

    def _make_trainer(
        self, train: Split, tune: Split | None, recipe: Recipe, context: Context
    ) -> Trainer:
        self._write_notes(recipe, len(train), context)
        task = TrainingTask(train, tune, self._augmentation_steps(), self._center_logits)
        return Trainer(self.network, task, recipe, context, self.parallel)

    def _write_notes(self, recipe: Recipe, n_train: int, context: Context) -> None:
        if self.design.is_small_variant(self.pixels.side):
            millions = sum(p.numel() for p in self.network.parameters()) / 1e6
            context.note(f"{self.pixels.side} px variant, {millions:.1f} M params")
        length = f"{recipe.epochs} epochs of {recipe.updates_per_epoch(n_train)} updates"
        if recipe.updates:
            length = f"{recipe.updates:,} updates"
        context.note(f"recipe {recipe.name}: {length}")
        if self.view_config.flip is None and not self.flip:
            context.note("no flips: on tune they change the class")
        if uses_bfloat16(context.device, recipe.precision):
            also = " in training and scoring" if self.design.precision == "bfloat16" else ""
            context.note(f"products in bfloat16{also}")
        if post_2012 := (*self.design.post_2012, *recipe.post_2012):
            context.note(f"post-2012: {', '.join(post_2012)}")

    def _augmentation_steps(self) -> Sequence[Augmentation]:
        config, size = self.view_config, self.network.crop
        crop = RandomCrop(size) if config.crops else CenterCrop(size)
        steps: list[Augmentation] = [crop, RandomFlip()] if self.flip else [crop]
        if config.mean == "code":
            steps.append(SubtractMean(self._center_mean()))
        else:
            steps.insert(0, SubtractMean(self.pixels.mean))
        if config.color:
            steps.append(ColorNoise.from_statistics(self.pixels, config.color_scale))
        return [*steps, Scale(self.pixel_scale)]

    def _squares(self, batch: Batch) -> torch.Tensor:
        return to_squares(batch.images, self.pixels.side).to(batch.index.device)

    def _logits_of_views(
        self, squares: torch.Tensor, *, corners: bool, flips: bool
    ) -> torch.Tensor:
        """Return (views, N, classes)."""
        offsets = view_offsets(self.pixels.side, self.network.crop)[: 5 if corners else 1]
        if self.view_config.mean == "code" or not can_share(self.network, offsets):
            inputs = self._views(squares, corners=corners, flips=flips)
            return torch.stack([self.network(crop) for crop in inputs])
        on_cpu = squares.device.type == "cpu"
        parts = squares.split(CACHED_IMAGES if on_cpu else len(squares))
        with keep_freed_memory(squares.device):
            logits = [
                logits_of_crops(self.network, self._center_and_scale(part), offsets, flips=flips)
                for part in parts
            ]
        return torch.cat(logits, dim=1)

    def _views(
        self, squares: torch.Tensor, *, corners: bool, flips: bool
    ) -> Iterator[torch.Tensor]:
        """Yield the network's input for each view of (N, 3, side, side) uint8 images."""
        size, scale = self.network.crop, Scale(self.pixel_scale)
        if self.view_config.mean == "code":
            subtract_mean = SubtractMean(self._center_mean())
            for crop in views(squares, size, corners=corners, flips=flips):
                yield scale(subtract_mean(crop))
        else:
            centered = self._center_and_scale(squares)
            yield from views(centered, size, corners=corners, flips=flips)

    def _center_and_scale(self, squares: torch.Tensor) -> torch.Tensor:
        return Scale(self.pixel_scale)(SubtractMean(self.pixels.mean)(squares))

    def _center_view(self, squares: torch.Tensor) -> torch.Tensor:
        return next(self._views(squares, corners=False, flips=False))

    def _center_mean(self) -> torch.Tensor:
        return CenterCrop(self.network.crop)(self.pixels.mean[None])[0]

    def _center_logits(self, squares: torch.Tensor) -> torch.Tensor:
        with evaluation_precision(squares.device, self.design.precision):
            logits = self.network(self._center_view(squares))
        return at_least_float32(logits)


def _sample(split: Split) -> Split:
    """Return up to PROBE_IMAGES images from all over the split."""
    n = min(len(split), PROBE_IMAGES)
    return split.take(np.linspace(0, len(split) - 1, n, dtype=np.int64))


def _count_images(splits: Sequence[Split | None]) -> int:
    return sum(len(split) for split in splits if split)
