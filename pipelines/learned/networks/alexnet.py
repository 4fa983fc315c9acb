"""AlexNet and the networks that differ from it in widths and in the order of layers.

Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
NIPS 2012; its author's one-tower network of 2014; Caffe's CaffeNet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from pipelines.learned.networks.network import Activation, LayerInit, Network, NetworkBuilder
from pipelines.learned.normalization import BatchNorm, LocalResponseNorm, SameMapNorm

Pool = Literal["overlapping", "plain"]
Columns = Literal[1, 2, "half"]
Order = Literal["paper", "code", "one-tower", "caffe"]

# What follows conv1 and what follows conv2. "norm" is local response normalization.
ORDERS: dict[Order, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "paper": (("act", "norm", "pool"), ("act", "norm", "pool")),
    "code": (("norm", "pool", "act"), ("act", "norm", "same_map_norm", "pool")),
    "one-tower": (("norm", "pool", "act"), ("act", "norm", "pool")),
    "caffe": (("act", "pool", "norm"), ("act", "pool", "norm")),
}


@dataclass(frozen=True)
class Shape:
    """Sizes of the five convolutional and two hidden fully connected layers.

    Widths count both columns.
    """

    stem: tuple[int, int, int]  # kernel, stride and padding of conv1, in pixels
    maps: tuple[int, int, int, int, int]  # feature maps of conv1 to conv5
    second_kernel: int  # of conv2, in pixels; conv3 to conv5 are 3x3
    hidden: int  # units of fc6 and of fc7


FULL = Shape(stem=(11, 4, 0), maps=(96, 256, 384, 384, 256), second_kernel=5, hidden=4096)
ONE_TOWER = Shape(stem=(11, 4, 0), maps=(64, 192, 384, 256, 256), second_kernel=5, hidden=4096)
"""Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014."""
SMALL_MAPS = (32, 96, 128, 128, 96)
SMALL_ONE_TOWER_MAPS = (24, 64, 128, 96, 96)


def small_shape(crop: int, maps: tuple[int, int, int, int, int] = SMALL_MAPS) -> Shape:
    """Return the variant for images below 128 pixels: 28 to 55 positions per side after conv1.

    Kernel 2 stride + 3 is the paper's 11 at its stride of 4. Widths are about a third of the
    paper's because of their cost: 26 epochs of 45,000 images then take half an hour on two cores.
    `benchmarks.alexnet_stem` compares others.

    Parameters
    ----------
    crop : int
        Pixels per side of the crops.
    maps : tuple of int
        Feature maps of conv1 to conv5.
    """
    stride = max(1, crop // 28)
    return Shape(stem=(2 * stride + 3, stride, stride + 1), maps=maps, second_kernel=3, hidden=512)


def half_shape(shape: Shape) -> Shape:
    """Return the paper's one-GPU network (section 3.2, footnote 2).

    Every layer but conv5 has half of its maps; the hidden layers keep their units.
    """
    m1, m2, m3, m4, m5 = shape.maps
    return replace(shape, maps=(m1 // 2, m2 // 2, m3 // 2, m4 // 2, m5))


_LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "conv6", "fc6", "fc7", "fc8")
_BIAS_ONE = ("conv2", "conv4", "conv5", "conv6", "fc6", "fc7")


def _inits(stds: Mapping[str, float], last_bias: float = 0.0) -> dict[str, LayerInit]:
    biases = dict.fromkeys(_BIAS_ONE, 1.0) | {"fc8": last_bias}
    return {
        name: LayerInit(stds.get(name, 0.01), bias=biases.get(name, 0.0), bias_lr_factor=2.0)
        for name in _LAYERS
    }


PAPER_INITS: Mapping[str, LayerInit] = {name: LayerInit(bias=1.0) for name in _BIAS_ONE}
"""N(0, 0.01^2) weights; biases 1 in conv2, conv4, conv5, fc6 and fc7, otherwise 0 (section 5)."""
_LARGER_STDS = dict.fromkeys(("conv3", "conv4", "conv5", "conv6"), 0.03)
CODE_INITS = _inits(_LARGER_STDS)
"""`layers-145.cfg`, and `layers-146.cfg` with conv6, of the code of the paper's author.

Where it differs from the paper: N(0, 0.03^2) in conv3 to conv6, and biases learn at twice the rate
of weights (epsB=0.02, epsW=0.01 in the parameter files).
"""
ONE_TOWER_INITS = _inits(_LARGER_STDS, last_bias=-7.0)
"""`layers-imagenet-1gpu.cfg` of cuda-convnet2."""
CAFFE_INITS = _inits({"fc6": 0.005, "fc7": 0.005})
"""`models/bvlc_reference_caffenet/train_val.prototxt` of Caffe."""


@dataclass(frozen=True)
class AlexNetConfig:
    """The choices in the network that do not depend on the size of images.

    Attributes
    ----------
    order : {"paper", "code", "one-tower", "caffe"}
        Order of activation, normalization and pooling, see `ORDERS`.
    columns : {1, 2, "half"}
        2: two groups in conv2, conv4 and conv5; the first layer after pool2 and the fully connected
        ones see both (section 3.5, figure 2). 1: no groups. "half": one of the two columns, with
        all maps of conv5.
    depth : int
        Number of convolutional layers: 4 without conv4, 3 without conv3 and conv4, 6 with the extra
        layer "over the last pooling layer" of the networks that the paper marks with a star
        (section 6), which has conv5's size and sees both columns.
    norm : callable () -> LocalResponseNorm, optional
        Makes the local response normalization; None leaves it out.
    pool : {"overlapping", "plain"}
        Windows of 3 or of 2, both at stride 2.
    activation : {"relu", "tanh", "sigmoid"}
    dropout : float
        Probability with which a unit of fc6 and fc7 is dropped.
    batch_norm : bool
        Batch normalization before the activation of every layer but fc8.
    inits : mapping of str to LayerInit
        Of the layers that differ from the default of `LayerInit`.
    """

    order: Order = "paper"
    columns: Columns = 2
    depth: int = 5
    norm: Callable[[], LocalResponseNorm] | None = LocalResponseNorm
    pool: Pool = "overlapping"
    activation: Activation = "relu"
    dropout: float = 0.5
    batch_norm: bool = False
    inits: Mapping[str, LayerInit] = field(default_factory=lambda: PAPER_INITS)


def column_norm(
    columns: Columns, alpha: Literal["paper", "code"]
) -> Callable[[], LocalResponseNorm]:
    """Return what makes the local response normalization within a column.

    "paper": alpha is 1e-4 (section 3.3); "code": 1e-4 divided by the window of 5, as cuda-convnet
    does with the `scale` of its layer files.
    """
    value = 1e-4 / 5 if alpha == "code" else 1e-4
    return partial(LocalResponseNorm, alpha=value, columns=2 if columns == 2 else 1)


def alexnet(config: AlexNetConfig, shape: Shape, *, crop: int, num_classes: int) -> Network:
    """Build the network; in the paper's order, with LRN for local response normalization:

    conv1 -> act -> LRN -> pool -> conv2 -> act -> LRN -> pool -> conv3 -> act -> conv4 -> act
    -> conv5 -> act -> pool -> fc6 -> act -> dropout -> fc7 -> act -> dropout -> fc8.

    Parameters
    ----------
    config : AlexNetConfig
    shape : Shape
        Sizes of the layers.
    crop : int
        Pixels per side of the input.
    num_classes : int
    """
    shape = half_shape(shape) if config.columns == "half" else shape
    groups = 2 if config.columns == 2 else 1
    kernel, stride, padding = shape.stem
    builder = _AlexNetBuilder(config, crop)
    after_conv1, after_conv2 = ORDERS[config.order]
    builder.add_convolution(1, shape.maps[0], kernel, stride=stride, padding=padding)
    builder.add_steps(1, after_conv1)
    builder.add_convolution(2, shape.maps[1], shape.second_kernel, groups=groups)
    builder.add_steps(2, after_conv2)
    middle = {3: (5,), 4: (3, 5)}.get(config.depth, (3, 4, 5))
    for number in middle:
        is_first = number == middle[0]
        builder.add_convolution(number, shape.maps[number - 1], 3, groups=1 if is_first else groups)
        builder.add_steps(number, ("act",))
    builder.pool("pool5", builder.window)
    if config.depth == 6:
        builder.add_convolution(6, shape.maps[4], 3)
        builder.add_steps(6, ("act",))
    builder.add_hidden(6, shape.hidden)
    builder.add_hidden(7, shape.hidden)
    builder.connect("fc8", num_classes, builder.init("fc8"))
    return builder.network()


class _AlexNetBuilder(NetworkBuilder):
    """Adds the numbered layers of AlexNet as the configuration says."""

    def __init__(self, config: AlexNetConfig, crop: int) -> None:
        super().__init__(crop, config.activation)
        self.config = config
        self.window = 3 if config.pool == "overlapping" else 2

    def init(self, name: str) -> LayerInit:
        return self.config.inits.get(name, LayerInit())

    def add_convolution(self, number: int, maps: int, kernel: int, **options: int) -> None:
        name = f"conv{number}"
        self.convolve(name, maps, kernel, self.init(name), **options)
        if self.config.batch_norm:
            self.add(f"batch_norm{number}", BatchNorm(maps))

    def add_steps(self, number: int, steps: tuple[str, ...]) -> None:
        """Add layers called STEP + number, such as act1, norm1 and pool1."""
        for step in steps:
            name = f"{step}{number}"
            if step == "act":
                self.activate(name)
            elif step == "pool":
                self.pool(name, self.window)
            elif step == "same_map_norm":
                self.add(name, SameMapNorm(size=5, scale=1e-3))
            elif self.config.norm:
                self.add(name, self.config.norm())

    def add_hidden(self, number: int, units: int) -> None:
        """Add a fully connected layer with batch normalization, activation and dropout."""
        name = f"fc{number}"
        self.connect(name, units, self.init(name))
        if self.config.batch_norm:
            self.add(f"batch_norm_{name}", BatchNorm(units))
        self.activate(f"act_{name}")
        self.drop(f"drop{number}", self.config.dropout)
