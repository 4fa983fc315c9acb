"""Designs: which network and which recipe a pipeline uses for images of a given size and number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch

from pipelines.learned.networks.alexnet import (
    CODE_INITS,
    FULL,
    PAPER_INITS,
    AlexNetConfig,
    Shape,
    alexnet,
    small_shape,
)
from pipelines.learned.networks.cuda_convnet import Layers, cuda_convnet
from pipelines.learned.networks.network import Activation, LayerInit, Network
from pipelines.learned.precision import Precision
from pipelines.learned.recipe import (
    RECIPE_2012,
    RECIPE_CODE,
    Recipe,
    RecipeOverrides,
    apply_overrides,
    cuda_convnet_recipe,
    short_recipe,
)

# Training and initial weights by their source: the text of the paper, or the code of its author.
PUBLISHED: Mapping[str, tuple[Recipe, Mapping[str, LayerInit]]] = {
    "paper": (RECIPE_2012, PAPER_INITS),
    "code": (RECIPE_CODE, CODE_INITS),
}
FULL_FROM_SIDE = 128  # shorter side in pixels from which images are resized to the paper's 256
FULL_SIDE = 256  # pixels per side, as in the paper
MIN_SIDE = 32  # pixels per side; smaller images are enlarged to this


class Design(Protocol):
    """A network and its recipe, as far as they do not depend on the data."""

    @property
    def post_2012(self) -> tuple[str, ...]:
        """The parts of the network that are more recent than 2012."""
        ...

    @property
    def precision(self) -> Precision:
        """The number type of products."""
        ...

    def square_side(self, image_size: tuple[int, int] | None) -> int:
        """Return the pixels per side of the squares that crops are taken from.

        `image_size` is (height, width) in pixels, None for images of several sizes.
        """
        ...

    def is_small_variant(self, side: int) -> bool:
        """Return whether squares of this side get another network than the published one."""
        ...

    def network(self, num_classes: int, side: int) -> Network:
        """Return the network for squares of this side, not yet initialized."""
        ...

    def recipe(self, n_train: int, side: int) -> Recipe:
        """Return the recipe for this many training images."""
        ...


@dataclass(frozen=True)
class AlexNetDesign:
    """The published network and recipe from 128 pixels up, otherwise small ones.

    The small network is narrower, with a smaller stem, and trained by the short recipe.

    Attributes
    ----------
    config : AlexNetConfig
    recipe_name : str
        Name of the published recipe, "short", or "auto", which decides by the size of images.
    overrides : RecipeOverrides
    post_2012 : tuple of str
    published : Recipe
    full : Shape
        Sizes of the layers of the published network.
    small : callable (crop) -> Shape
        Sizes of the layers of the small network.
    full_crop : int
        Pixels per side of a crop from the full square of 256. From smaller squares a crop is 7/8 of
        the side, as 224 is of 256.
    small_side : int, optional
        Pixels per side, below 128, that images are resized to; None decides by their size.
    """

    config: AlexNetConfig
    recipe_name: str = "auto"
    overrides: RecipeOverrides = field(default_factory=RecipeOverrides)
    post_2012: tuple[str, ...] = ()
    published: Recipe = RECIPE_2012
    full: Shape = FULL
    small: Callable[[int], Shape] = small_shape
    full_crop: int = 224
    small_side: int | None = None

    @property
    def precision(self) -> Precision:
        return self.overrides.precision or "auto"

    def square_side(self, image_size: tuple[int, int] | None) -> int:
        if self.small_side:
            return self.small_side
        if image_size is None or min(image_size) >= FULL_FROM_SIDE:
            return FULL_SIDE
        return max(MIN_SIDE, min(image_size))

    def is_small_variant(self, side: int) -> bool:
        return side < FULL_FROM_SIDE

    def network(self, num_classes: int, side: int) -> Network:
        if not self.is_small_variant(side):
            return self._full_network(num_classes)
        crop = side * 7 // 8
        network = alexnet(self.config, self.small(crop), crop=crop, num_classes=num_classes)
        with torch.device("meta"):
            network.scale_init_like(self._full_network(num_classes))
        return network

    def recipe(self, n_train: int, side: int) -> Recipe:
        is_published = self.recipe_name == self.published.name
        if self.recipe_name == "auto":
            is_published = not self.is_small_variant(side)
        recipe = self.published if is_published else short_recipe(n_train, side)
        return apply_overrides(recipe, self.overrides, n_train)

    def _full_network(self, num_classes: int) -> Network:
        return alexnet(self.config, self.full, crop=self.full_crop, num_classes=num_classes)


@dataclass(frozen=True)
class CudaConvnetDesign:
    """The networks of cuda-convnet for images of 32 pixels; others are resized to that."""

    layers: Layers
    activation: Activation = "relu"
    overrides: RecipeOverrides = field(default_factory=RecipeOverrides)
    post_2012: tuple[str, ...] = ()

    @property
    def precision(self) -> Precision:
        return self.overrides.precision or "auto"

    def square_side(self, image_size: tuple[int, int] | None) -> int:
        return 32

    def is_small_variant(self, side: int) -> bool:
        return False

    def network(self, num_classes: int, side: int) -> Network:
        return cuda_convnet(self.layers, num_classes=num_classes, activation=self.activation)

    def recipe(self, n_train: int, side: int) -> Recipe:
        return apply_overrides(cuda_convnet_recipe(self.layers), self.overrides, n_train)
