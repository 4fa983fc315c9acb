"""The networks of cuda-convnet for CIFAR-10 (Krizhevsky 2011), from 80 seconds to 11 % error, with their own schedules.

Layers, first weights, weight costs and rates as in `example-layers/` of its source, for images of 32 pixels, to which others are
brought. Published errors on CIFAR-10: 80sec 26 %, 19pct 19, 18pct 18, 13pct 13, 11pct 11. Their schedules, of which `recipe.cuda_convnet`
says what the source names, are counted in epochs of 50,000 images: fewer images need more epochs, or a higher rate and He init, to leave
the start, which is of small weights. Of the mean image each crop's own part is taken off; the author's program takes off the middle's.
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
    rate: Annotated[float, Gt(0)] | None = None,
    weight_decay: Annotated[float, Ge(0)] | None = None,
    init: Literal["published", "he"] | None = None,
    precision: Literal["float32"] | None = None,
) -> Pipeline:
    """The network of 80 seconds by default.

    layers        80sec: 3 convolutions and 2 fully connected layers; 19pct: 3 and 1; 18pct: that with normalization within maps;
                  13pct: 2 convolutions and 2 layers of unshared weights, on crops of 24 pixels and their mirror images;
                  11pct: that with normalization across maps and wider
    views         of 13pct and 11pct at test time; the others see the whole image once
    epochs        passes over the training images; like all below, by default the file's own: 10, 140, 140, 520, 520
    rate          learning rate until the first drop; biases have twice that
    weight_decay  of most layers; the others' keep their ratio to it, so that 0 turns all off
    precision     of products in training; None: bfloat16 on a GPU or CPU that has it in hardware, else float32
    """
    from pipelines.learned.classifier import NetworkPipeline, Sight
    from pipelines.learned.designs import CudaConvnetDesign
    from pipelines.learned.recipe import Changes

    cropped = layers in ("13pct", "11pct")
    return NetworkPipeline(
        CudaConvnetDesign(
            layers,
            activation,
            Changes(
                epochs=epochs, rate=rate, weight_decay=weight_decay, init=init, precision=precision
            ),
        ),
        Sight(crops=cropped, flip=None if cropped else False, color=False, views=views),
    )
