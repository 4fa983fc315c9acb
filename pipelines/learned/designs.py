"""What a learned pipeline is besides its data: which network and which recipe it takes for images of a given size and number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch

from pipelines.learned.networks.alexnet import FULL, Shape, small
from pipelines.learned.networks.cuda_convnet import Layers, cuda_convnet
from pipelines.learned.networks.network import Activation, Network
from pipelines.learned.recipe import RECIPE_2012, Changes, Recipe, changed, short
from pipelines.learned.recipe import cuda_convnet as cuda_convnet_recipe

FULL_FROM = 128  # pixels on the shorter side: from here on images are brought to the size that the paper used
FULL_SIDE = 256  # pixels: what the paper resizes the shorter side to
SMALLEST_SIDE = 32  # pixels: smaller images are enlarged to this


class Design(Protocol):
    """`later` names what of the network is younger than 2012."""

    @property
    def later(self) -> tuple[str, ...]: ...

    def side(self, image_size: tuple[int, int] | None) -> int:
        """Pixels a side of the squares that crops are taken from, for images of (height, width) pixels, or None for several sizes."""
        ...

    def variant(self, side: int) -> bool:
        """Whether squares of this side get another network than the published one."""
        ...

    def network(self, classes: int, side: int) -> Network: ...

    def recipe(self, n: int, side: int) -> Recipe:
        """For `n` training images."""
        ...


@dataclass(frozen=True)
class AlexNetDesign:
    """The published network and recipe for images of 128 pixels or more; below, a narrower one with a smaller stem, and a short recipe.

    make         `alexnet` with all but shape, crop and classes said
    recipe_name  the published recipe's name, "short", or "auto": by the size of images
    small_side   pixels a side, below 128, that images are brought to; None: what their own size says
    full_crop    pixels of a crop from the full square of 256; from smaller squares it is 7/8 of the side, as 224 is of 256
    """

    make: Callable[..., Network]
    recipe_name: str = "auto"
    changes: Changes = field(default_factory=Changes)
    later: tuple[str, ...] = ()
    published: Recipe = RECIPE_2012
    full: Shape = FULL
    small: Callable[[int], Shape] = small
    full_crop: int = 224
    small_side: int | None = None

    def side(self, image_size: tuple[int, int] | None) -> int:
        if self.small_side:
            return self.small_side
        if image_size is None or min(image_size) >= FULL_FROM:
            return FULL_SIDE
        return max(SMALLEST_SIDE, min(image_size))

    def variant(self, side: int) -> bool:
        return side < FULL_FROM

    def network(self, classes: int, side: int) -> Network:
        if not self.variant(side):
            return self.make(self.full, crop=self.full_crop, classes=classes)
        crop = side * 7 // 8
        network = self.make(self.small(crop), crop=crop, classes=classes)
        with torch.device("meta"):
            network.start_like(self.make(self.full, crop=self.full_crop, classes=classes))
        return network

    def recipe(self, n: int, side: int) -> Recipe:
        published = self.recipe_name == self.published.name or (
            self.recipe_name == "auto" and not self.variant(side)
        )
        return changed(self.published if published else short(n, side), self.changes, n)


@dataclass(frozen=True)
class CudaConvnetDesign:
    """The networks of cuda-convnet for images of 32 pixels, to which all others are brought."""

    layers: Layers
    activation: Activation = "relu"
    changes: Changes = field(default_factory=Changes)
    later: tuple[str, ...] = ()

    def side(self, image_size: tuple[int, int] | None) -> int:
        return 32

    def variant(self, side: int) -> bool:
        return False

    def network(self, classes: int, side: int) -> Network:
        return cuda_convnet(self.layers, classes=classes, activation=self.activation)

    def recipe(self, n: int, side: int) -> Recipe:
        return changed(cuda_convnet_recipe(self.layers), self.changes, n)
