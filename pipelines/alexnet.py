"""AlexNet, the network that won ILSVRC-2012, with every trick of its training, each one a switch.

Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
NIPS 2012. Images of 128 pixels or more are resized to the paper's 256 and get the paper's network
on crops of 224. Smaller images get the same layers in the same order, narrower and with a smaller
stem, on crops of 7/8 of the side. With the 2012 recipe the initial weights of these narrow layers
are larger than the paper's by the root of the ratio of fan-ins, because with the paper's own a
narrow network does not start to learn. Multiply-adds are counted for one view.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Lt

if TYPE_CHECKING:
    from harness.contract import Pipeline

FAMILY = "learned"


def build(
    *,
    recipe: Literal["auto", "2012", "code", "short"] = "auto",
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
    batch: Annotated[int, Ge(1)] | None = None,
    optimizer: Literal["paper-sgd", "sgd", "adam", "adamw"] | None = None,
    schedule: Literal["plateau", "step", "cosine", "onecycle"] | None = None,
    lr: Annotated[float, Gt(0)] | None = None,
    weight_decay: Annotated[float, Ge(0)] | None = None,
    precision: Literal["float32", "bfloat16"] | None = None,
    init_from: str | None = None,
    parallel: Literal["data", "model", "hybrid"] = "data",
) -> Pipeline:
    """Build the paper's system by default.

    Where the paper and the code of its author differ, `paper` and `code` choose between them, and
    `recipe=code` is his code throughout. The defaults of epochs, batch, optimizer, schedule, lr and
    weight_decay are the recipe's own.

    Parameters
    ----------
    recipe
        2012: the paper's training. code: network 145 of the author's code, whose errors the paper
        prints: order, lrn_alpha and color_scale are `code`; conv3 to conv5 start from weights of
        0.03 instead of 0.01; biases learn at twice the rate, which does not fall; weights learn at
        a tenth from epochs 25, 51 and 79 of 90; every crop has the middle of the mean image
        subtracted. short: fewer epochs. auto: 2012 from 128 pixels up, short below.
    side
        Train the small variant on images resized to this many pixels per side; None decides by the
        images' own size, and uses 256 where sizes differ.
    order
        code: conv1, normalization, pooling, activation; and a second normalization, within maps,
        after conv2.
    columns
        2: conv2, conv4 and conv5 in two groups, as on two GPUs; 1: no groups; half: the paper's
        one-GPU network.
    depth
        Number of convolutional layers: 4 without conv4, 3 without conv3 and conv4, 6 with the extra
        layer of the paper's starred networks.
    lrn
        Local response normalization after conv1 and conv2, within a column.
    lrn_alpha
        paper: alpha times the sum over the window; code: alpha times its mean.
    pool
        overlapping: windows of 3 at stride 2; plain: windows of 2 at stride 2.
    activation
        Activation function of every layer but the last.
    dropout
        Probability with which a unit of the first two fully connected layers is dropped; 0 turns
        dropout off.
    batch_norm
        Batch normalization before every activation (2015).
    crops
        Random crops of 7/8 of the side in training and, with views=10, corner crops at test time;
        false: the center crop.
    flip
        Random flips in training and, with views=10, flipped crops at test time; None flips unless
        that changes the class of tune images.
    color
        Noise along the principal components of the training pixels' colors.
    color_scale
        paper: 0.1 times the eigenvalues; code: 0.1 times their square roots, and the noisy image
        divided by 1.1.
    views
        Crops averaged at test time.
    epochs
        Passes over the training images.
    updates
        Number of optimizer steps, in place of epochs, whatever the number of images; the weights
        with the lowest tune error at the end of an epoch are kept, and training stops when half of
        all updates have not improved on it.
    batch
        Images per update, over all processes; None: the recipe's. Unless lr is given, it changes by
        the same factor (Krizhevsky 2014; Goyal et al. 2017); with Adam and with recipe=short by the
        factor's root.
    optimizer
        paper-sgd: learning rate and weight decay act inside the velocity; sgd: as in torch; adam
        and adamw (2015, 2017).
    schedule
        plateau: divides lr by 10 when the tune error stalls, three times; step: divides it by 10
        after each quarter but the last; cosine and onecycle (2016, 2018).
    lr
        Learning rate at the start of the schedule, or at its peak.
    weight_decay
        Share of a weight, times the learning rate, subtracted per update.
    precision
        Number type of the products. None: in training bfloat16 on a GPU or CPU that has it in
        hardware, otherwise float32, and float32 for tune and test images; bfloat16: for these too,
        and for gradients that processes exchange, which is faster and rounds to 2^-8. N processes
        compute the updates of one up to the rounding of this type: 1e-6 of a gradient in float32,
        2^-8 in bfloat16. Training amplifies either (`pipelines.learned.parallel`).
    init_from
        Finished run to start from, such as one on a larger dataset: layers of the same shape are
        copied, the last one only if the classes are the same.
    parallel
        How processes started by torchrun share the training. data: the images of a batch; model:
        two processes, one column each, as in the paper; hybrid: images in the convolutions, units
        in the fully connected layers (2014). All train the same network.
    """
    from pipelines.learned.designs import PUBLISHED, AlexNetDesign
    from pipelines.learned.network_pipeline import NetworkPipeline, ViewConfig
    from pipelines.learned.networks.alexnet import AlexNetConfig, column_norm
    from pipelines.learned.recipe import RecipeOverrides

    source: Literal["paper", "code"] = "paper"
    if recipe == "code":
        source = order = lrn_alpha = color_scale = "code"
    published, inits = PUBLISHED[source]
    norm = column_norm(columns, lrn_alpha) if lrn else None
    config = AlexNetConfig(
        order, columns, depth, norm, pool, activation, dropout, batch_norm, inits
    )
    overrides = RecipeOverrides(
        epochs, updates, batch, optimizer, schedule, lr, weight_decay, precision=precision
    )
    post_2012 = ("batch normalization",) if batch_norm else ()
    design = AlexNetDesign(config, recipe, overrides, post_2012, published, small_side=side)
    view_config = ViewConfig(crops, flip, color, views, color_scale, mean=source)
    return NetworkPipeline(design, view_config, init_from=init_from, parallel=parallel)
