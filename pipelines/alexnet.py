"""AlexNet, the network that won ILSVRC-2012, with every trick of its training, each one a switch.

Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012. Images of 128 pixels
or more are brought to the paper's 256 and get the paper's network on crops of 224. Smaller ones get the same layers in the same order,
narrower and with a smaller stem, on crops of the same share of the side; in the 2012 recipe their weights begin larger than the paper's,
by the root of the ratio of fan-ins, since with the paper's own a narrow network does not start. Multiply-adds are counted for one view.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Lt

if TYPE_CHECKING:
    from harness.contract import Pipeline

FAMILY = "learned"


def build(
    *,
    recipe: Literal["auto", "2012", "short"] = "auto",
    side: Annotated[int, Ge(32), Lt(128)] | None = None,
    order: Literal["paper", "code"] = "paper",
    columns: Literal[1, 2, "half"] = 2,
    depth: Literal[3, 4, 5, 6] = 5,
    lrn: bool = True,
    lrn_alpha: Literal["paper", "code"] = "paper",
    pool: Literal["overlapping", "plain"] = "overlapping",
    activation: Literal["relu", "tanh", "sigmoid"] = "relu",
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.5,
    batch_norm: bool = False,
    crops: bool = True,
    flip: bool | None = None,
    color: bool = True,
    color_scale: Literal["paper", "code"] = "paper",
    views: Literal[1, 10] = 10,
    epochs: Annotated[int, Ge(1)] | None = None,
    updates: Annotated[int, Ge(1)] | None = None,
    optimizer: Literal["paper-sgd", "sgd", "adam", "adamw"] | None = None,
    schedule: Literal["plateau", "step", "cosine", "onecycle"] | None = None,
    rate: Annotated[float, Gt(0)] | None = None,
    weight_decay: Annotated[float, Ge(0)] | None = None,
    precision: Literal["float32"] | None = None,
    init_from: str | None = None,
    parallel: Literal["data", "model", "hybrid"] = "data",
) -> Pipeline:
    """The paper's system by default. Where text and code of its author differ, `paper` and `code` name them.

    recipe        2012: the paper's training; short: fewer epochs; auto: 2012 from 128 pixels up, short below
    side          pixels a side that images are brought to, to train the small variant on large ones too; None: by their own size, and
                  256 where they are of several sizes
    order         code: conv1, normalization, pool, activation; after conv2 a second normalization, within maps
    columns       2: conv2, conv4 and conv5 in two groups, as on two GPUs; 1: ungrouped; half: the paper's one-GPU network
    depth         convolutional layers: 4 without conv4, 3 without conv3 and conv4, 6 with the extra one of the starred networks
    lrn           local response normalization after conv1 and conv2, within a column
    lrn_alpha     paper: alpha times the sum over the window; code: times its mean
    pool          overlapping: windows of 3 at a stride of 2; plain: windows of 2
    dropout       probability with which a unit of the first two fully connected layers is dropped; 0 turns it off
    batch_norm    batch normalization before every activation (2015)
    crops         random crops of 7/8 of the side in training and, with views=10, corner crops at test; off: the center crop
    flip          random mirroring in training and, with views=10, mirrored crops at test; None: if tune says that they show the same
    color        noise along the principal components of the training pixels' colors
    color_scale  paper: 0.1 times the eigenvalues; code: 0.1 times their roots, and the noisy image divided by 1.1
    views         crops averaged at test time
    epochs        passes over the training images; like all below but `updates`, by default the recipe's own
    updates       in place of epochs, steps of gradient descent, whatever the number of images: the weights that err least on tune after
                  an epoch are kept, and training ends when half of all updates have brought none as good
    optimizer     paper-sgd: learning rate and weight decay inside the velocity; sgd: as in torch; adam and adamw (2015, 2017)
    schedule      plateau: / 10 when tune stalls, three times; step: / 10 after each quarter but the last; cosine and onecycle
                  (2016, 2018)
    rate          learning rate of the schedule's start or peak
    weight_decay  share of a weight, times the learning rate, taken off a step
    precision     of products in training; None: bfloat16 on a GPU or CPU that has it in hardware, else float32
    init_from     a finished run, such as one on a larger dataset, to start from: layers of the same shape are taken over, the last one
                  only where the classes are the same
    parallel      how processes started by torchrun share the training; data: the images of a batch; model: two processes, a column
                  each, as in the paper; hybrid: images in the convolutions, units in the fully connected layers (2014). The network
                  is the same whichever it is
    """
    from functools import partial

    from pipelines.learned.classifier import NetworkPipeline, Sight
    from pipelines.learned.designs import AlexNetDesign
    from pipelines.learned.networks.alexnet import alexnet
    from pipelines.learned.normalization import LocalResponseNorm
    from pipelines.learned.recipe import Changes

    alpha = {"paper": 1e-4, "code": 1e-4 / 5}[lrn_alpha]
    norm = (
        partial(LocalResponseNorm, alpha=alpha, columns=2 if columns == 2 else 1) if lrn else None
    )
    return NetworkPipeline(
        AlexNetDesign(
            make=partial(
                alexnet, order=order, columns=columns, depth=depth, norm=norm, pool=pool, activation=activation, dropout=dropout,
                batch_norm=batch_norm,
            ),
            recipe_name=recipe,
            changes=Changes(
                epochs=epochs, updates=updates, optimizer=optimizer, schedule=schedule, rate=rate, weight_decay=weight_decay,
                precision=precision,
            ),
            later=("batch normalization",) if batch_norm else (),
            small_side=side,
        ),
        Sight(crops=crops, flip=flip, color=color, color_scale=color_scale, views=views),
        init_from=init_from,
        parallel=parallel,
    )  # fmt: skip
