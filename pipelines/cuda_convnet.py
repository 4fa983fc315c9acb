"""The networks of cuda-convnet for CIFAR-10 (Krizhevsky 2011), from 80 seconds to 11 % error.

Layers, initial weights, weight decays and learning rates are those of `example-layers/` in its
source, for images of 32 pixels; others are resized to that. Published errors on CIFAR-10: 80sec
26 %, 19pct 19, 18pct 18, 13pct 13, 11pct 11. Each network has its own schedule, which
`recipe.cuda_convnet_recipe` describes, counted in epochs of 50,000 images: with fewer images the
small initial weights need more epochs, or a higher learning rate and He init, to start to learn.
Each crop has its own part of the mean image subtracted; the author's program subtracts the
middle's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt

if TYPE_CHECKING:
    from harness.contract import Pipeline

FAMILY = "learned"


def build(
    *,
    layers: Literal["80sec", "19pct", "18pct", "13pct", "11pct"] = "80sec",
    activation: Literal["relu", "tanh", "sigmoid"] = "relu",
    views: Literal[1, 10] = 10,
    epochs: Annotated[int, Ge(1)] | None = None,
    lr: Annotated[float, Gt(0)] | None = None,
    weight_decay: Annotated[float, Ge(0)] | None = None,
    init: Literal["published", "he"] | None = None,
    precision: Literal["float32", "bfloat16"] | None = None,
) -> Pipeline:
    """Build the network that learns in 80 seconds by default.

    The defaults of epochs, lr, weight_decay and init are those of the author's files.

    Parameters
    ----------
    layers
        80sec: 3 convolutions and 2 fully connected layers; 19pct: 3 and 1; 18pct: 19pct with
        normalization within maps; 13pct: 2 convolutions and 2 locally connected layers, on random
        crops of 24 pixels and their flips; 11pct: 13pct with normalization across maps, and wider.
    views
        Crops averaged at test time by 13pct and 11pct; the others see the whole image once.
    epochs
        Passes over the training images; by default 10, 140, 140, 520 or 520.
    lr
        Learning rate until the first drop; biases have twice that.
    weight_decay
        Weight decay of most layers; that of the others keeps its ratio to it, so 0 turns all off.
    precision
        Number type of the products, as in `alexnet`. What N processes have in common with one
        depends on it.
    """
    from pipelines.learned.designs import CudaConvnetDesign
    from pipelines.learned.network_pipeline import NetworkPipeline, ViewConfig
    from pipelines.learned.recipe import RecipeOverrides

    has_crops = layers in ("13pct", "11pct")
    overrides = RecipeOverrides(
        epochs=epochs, lr=lr, weight_decay=weight_decay, init=init, precision=precision
    )
    flip = None if has_crops else False
    return NetworkPipeline(
        CudaConvnetDesign(layers, activation, overrides),
        ViewConfig(crops=has_crops, flip=flip, color=False, views=views),
    )
