"""AlexNet in one tower, as its author rewrote it in 2014: fewer maps, no groups.

Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014, and the layer files of cuda-convnet2, which order
conv1, normalization, pool and activation so, divide alpha by the window, and add color noise by standard deviations. The network that
torchvision calls AlexNet is this one without normalization. Of the mean image each crop's own part is taken off, as in the paper of 2012;
those files take off the middle's. Images below 128 pixels get a narrower one, as in `alexnet`.
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
    """As in `alexnet`.

    recipe  2014: 90 epochs, the rate falling to 1/250 in four steps; short: fewer epochs; auto: 2014 from 128 pixels up, short below
    """
    from functools import partial

    from pipelines.learned.classifier import NetworkPipeline, Sight
    from pipelines.learned.designs import AlexNetDesign
    from pipelines.learned.networks.alexnet import (
        ONE_TOWER,
        ONE_TOWER_STARTS,
        ONE_TOWER_THIRD,
        alexnet,
        small,
    )
    from pipelines.learned.normalization import LocalResponseNorm
    from pipelines.learned.recipe import RECIPE_ONE_TOWER, Changes

    norm = partial(LocalResponseNorm, alpha=1e-4 / 5) if lrn else None
    return NetworkPipeline(
        AlexNetDesign(
            make=partial(
                alexnet,
                order="one-tower",
                columns=1,
                norm=norm,
                dropout=dropout,
                starts=ONE_TOWER_STARTS,
            ),
            recipe_name=recipe,
            changes=Changes(epochs=epochs),
            later=("one-tower network (2014)",),
            published=RECIPE_ONE_TOWER,
            full=ONE_TOWER,
            small=partial(small, maps=ONE_TOWER_THIRD),
            small_side=side,
        ),
        Sight(crops=crops, flip=flip, color=color, color_scale="code", views=views),
    )
