"""AlexNet in one tower, as its author rewrote it in 2014: fewer maps, no groups.

Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014, and the layer
files of cuda-convnet2, which order conv1, normalization, pooling and activation in this way, divide
alpha by the window and add color noise by standard deviations. The network that torchvision calls
AlexNet is this one without normalization. Each crop has its own part of the mean image subtracted,
as in the paper of 2012; those files subtract the middle's. Images below 128 pixels get a narrower
network, as in `alexnet`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Lt

if TYPE_CHECKING:
    from harness.contract import Pipeline

FAMILY = "learned"


def build(
    *,
    recipe: Literal["auto", "2014", "short"] = "auto",
    side: Annotated[int, Ge(32), Lt(128)] | None = None,
    lrn: bool = True,
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.5,
    crops: bool = True,
    flip: bool | None = None,
    color: bool = True,
    views: Literal[1, 10] = 10,
    epochs: Annotated[int, Ge(1)] | None = None,
) -> Pipeline:
    """Build the network; parameters are those of `alexnet`.

    Parameters
    ----------
    recipe
        2014: 90 epochs, the learning rate falling to 1/250 in four steps; short: fewer epochs;
        auto: 2014 from 128 pixels up, short below.
    """
    from functools import partial

    from pipelines.learned.designs import AlexNetDesign
    from pipelines.learned.network_pipeline import NetworkPipeline, ViewConfig
    from pipelines.learned.networks.alexnet import (
        ONE_TOWER,
        ONE_TOWER_INITS,
        SMALL_ONE_TOWER_MAPS,
        AlexNetConfig,
        small_shape,
    )
    from pipelines.learned.normalization import LocalResponseNorm
    from pipelines.learned.recipe import RECIPE_ONE_TOWER, RecipeOverrides

    norm = partial(LocalResponseNorm, alpha=1e-4 / 5) if lrn else None
    design = AlexNetDesign(
        AlexNetConfig(
            order="one-tower", columns=1, norm=norm, dropout=dropout, inits=ONE_TOWER_INITS
        ),
        recipe_name=recipe,
        overrides=RecipeOverrides(epochs=epochs),
        post_2012=("one-tower network (2014)",),
        published=RECIPE_ONE_TOWER,
        full=ONE_TOWER,
        small=partial(small_shape, maps=SMALL_ONE_TOWER_MAPS),
        small_side=side,
    )
    view_config = ViewConfig(crops=crops, flip=flip, color=color, color_scale="code", views=views)
    return NetworkPipeline(design, view_config)
