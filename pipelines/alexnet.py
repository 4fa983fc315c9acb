"""AlexNet, the network that won ILSVRC-2012, with every trick of its training, each one a switch.

Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012. Images of 128 pixels
or more are brought to the paper's 256 and get the paper's network on crops of 224. Smaller ones get the same layers in the same order,
narrower and with a smaller stem, on crops of the same share of the side. Multiply-adds are counted for one view.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Lt

if TYPE_CHECKING:
    from harness.contract import Pipeline

FAMILY = "learned"


def build(
    *,
    recipe: Literal["auto", "2012", "short"] = "auto",
    lrn: bool = True,
    pool: Literal["overlapping", "plain"] = "overlapping",
    activation: Literal["relu", "tanh"] = "relu",
    columns: Literal[1, 2] = 2,
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.5,
    crops: bool = True,
    flip: bool | None = None,
    colour: bool = True,
    views: Literal[1, 10] = 10,
    epochs: Annotated[int, Ge(1)] | None = None,
) -> Pipeline:
    """The paper's system by default.

    recipe      2012: the paper's training; short: fewer epochs; auto: 2012 from 128 pixels up, short below
    lrn         local response normalisation after conv1 and conv2
    pool        overlapping: windows of 3 at a stride of 2; plain: windows of 2
    columns     2: conv2, conv4 and conv5 in two groups, as on two GPUs; 1: ungrouped
    dropout     probability with which a unit of the first two fully connected layers is dropped; 0 turns it off
    crops       random crops of 7/8 of the side in training and, with views=10, corner crops at test; off: the centre crop
    flip        random mirroring in training and, with views=10, mirrored crops at test; None: if tune says that they show the same
    colour      noise along the principal components of the training pixels' colours
    views       crops averaged at test time
    epochs      passes over the training images; by default the recipe's own number
    """
    from pipelines.learned.classifier import AlexNetPipeline, Settings

    return AlexNetPipeline(
        Settings(
            recipe=recipe, lrn=lrn, pool=pool, activation=activation, columns=columns, dropout=dropout,
            crops=crops, flip=flip, colour=colour, views=views, epochs=epochs,
        )
    )  # fmt: skip
