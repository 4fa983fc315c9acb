"""The network of Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012.

And those that differ from it in widths and in the order of layers: its author's of 2014, and Caffe's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from pipelines.learned.networks.network import Activation, Chain, Network, Start
from pipelines.learned.normalization import BatchNorm, LocalResponseNorm, SameMapNorm

Pool = Literal["overlapping", "plain"]
Columns = Literal[1, 2, "half"]
Order = Literal["paper", "code", "one-tower", "caffe"]
Norm = Callable[[], LocalResponseNorm]

# What follows conv1, and what follows conv2. "norm" is local response normalization.
ORDERS: dict[Order, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "paper": (("act", "norm", "pool"), ("act", "norm", "pool")),
    "code": (("norm", "pool", "act"), ("act", "norm", "same_map_norm", "pool")),
    "one-tower": (("norm", "pool", "act"), ("act", "norm", "pool")),
    "caffe": (("act", "pool", "norm"), ("act", "pool", "norm")),
}


@dataclass(frozen=True)
class Shape:
    """Sizes of the five convolutional and two hidden fully connected layers. Widths count both columns."""

    stem: tuple[int, int, int]  # kernel, stride, padding of conv1, in pixels
    maps: tuple[int, int, int, int, int]  # feature maps of conv1 to conv5
    second_kernel: int  # of conv2, in pixels; conv3 to conv5 are 3x3
    hidden: int  # units of fc6 and of fc7


FULL = Shape(stem=(11, 4, 0), maps=(96, 256, 384, 384, 256), second_kernel=5, hidden=4096)
ONE_TOWER = Shape(stem=(11, 4, 0), maps=(64, 192, 384, 256, 256), second_kernel=5, hidden=4096)
"""Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014."""
THIRD = (32, 96, 128, 128, 96)
ONE_TOWER_THIRD = (24, 64, 128, 96, 96)


def small(crop: int, maps: tuple[int, int, int, int, int] = THIRD) -> Shape:
    """The variant for images below 128 pixels, given crops of `crop` pixels: about 28 to 55 positions a side after conv1.

    Kernel 2 stride + 3 is the paper's 11 at its stride of 4. Widths are about a third of the paper's, for
    what they cost: 26 epochs of 45,000 images then fit into half an hour on two cores. `benchmarks.alexnet_stem` compares others.
    """
    stride = max(1, crop // 28)
    return Shape(stem=(2 * stride + 3, stride, stride + 1), maps=maps, second_kernel=3, hidden=512)


def halved(shape: Shape) -> Shape:
    """The paper's one-GPU network: half of the maps of every layer but conv5, the hidden layers whole (section 3.2, footnote 2)."""
    m1, m2, m3, m4, m5 = shape.maps
    return replace(shape, maps=(m1 // 2, m2 // 2, m3 // 2, m4 // 2, m5))


_ONES = ("conv2", "conv4", "conv5", "conv6", "fc6", "fc7")
_DEVIATIONS_ONE_TOWER = {"conv3": 0.03, "conv4": 0.03, "conv5": 0.03}
_DEVIATIONS_CAFFE = {"fc6": 0.005, "fc7": 0.005}
_LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")

PAPER_STARTS: Mapping[str, Start] = {name: Start(bias=1.0) for name in _ONES}
"""N(0, 0.01^2) weights; biases 1 in conv2, conv4, conv5 and the hidden fully connected layers, else 0 (section 5)."""
ONE_TOWER_STARTS: Mapping[str, Start] = {
    name: Start(
        _DEVIATIONS_ONE_TOWER.get(name, 0.01),
        bias=1.0 if name in _ONES else -7.0 if name == "fc8" else 0.0,
        bias_rate=2.0,
    )
    for name in _LAYERS
}
"""`layers-imagenet-1gpu.cfg` of cuda-convnet2."""
CAFFE_STARTS: Mapping[str, Start] = {
    name: Start(
        _DEVIATIONS_CAFFE.get(name, 0.01), bias=1.0 if name in _ONES else 0.0, bias_rate=2.0
    )
    for name in _LAYERS
}
"""`models/bvlc_reference_caffenet/train_val.prototxt` of Caffe."""


def alexnet(
    shape: Shape,
    *,
    crop: int,
    classes: int,
    order: Order = "paper",
    columns: Columns = 2,
    norm: Norm | None = LocalResponseNorm,
    pool: Pool = "overlapping",
    activation: Activation = "relu",
    dropout: float = 0.5,
    depth: int = 5,
    batch_norm: bool = False,
    starts: Mapping[str, Start] = PAPER_STARTS,
) -> Network:
    """conv1 -> act -> LRN -> pool -> conv2 -> act -> LRN -> pool -> conv3 -> act -> conv4 -> act -> conv5 -> act -> pool -> fc6 -> fc7 -> fc8.

    columns     2: two groups in conv2, conv4 and conv5; the first layer after pool2 and the fully connected ones see both
                (section 3.5, figure 2); 1: no groups; half: one of the two columns, with all maps of conv5
    depth       convolutional layers: 4 without conv4, 3 without conv3 and conv4, 6 with the extra layer "over the last pooling layer"
                of the networks that the paper marks with a star (section 6), of conv5's size and seeing both columns
    batch_norm  after every convolution and hidden fully connected layer, before its activation
    starts      of the layers that do not start as `Start()`
    """
    m1, m2, m3, m4, m5 = (halved(shape) if columns == "half" else shape).maps
    groups = 2 if columns == 2 else 1
    window = 3 if pool == "overlapping" else 2
    kernel, stride, padding = shape.stem
    chain = Chain(crop, activation)

    def after(number: int, *steps: str) -> None:
        """The layers called STEP + number, such as act1, norm1 and pool1."""
        if batch_norm:
            chain.add(f"batch_norm{number}", BatchNorm(chain.shape[0]))
        for step in steps:
            name = f"{step}{number}"
            if step == "act":
                chain.activate(name)
            elif step == "pool":
                chain.pool(name, window)
            elif step == "same_map_norm":
                chain.add(name, SameMapNorm(size=5, scale=1e-3))
            elif norm:
                chain.add(name, norm())

    def convolve(number: int, maps: int, kernel: int, **options: int) -> None:
        chain.convolve(
            f"conv{number}", maps, kernel, starts.get(f"conv{number}", Start()), **options
        )

    first, second = ORDERS[order]
    convolve(1, m1, kernel, stride=stride, padding=padding)
    after(1, *first)
    convolve(2, m2, shape.second_kernel, groups=groups)
    after(2, *second)
    maps = {3: m3, 4: m4, 5: m5}
    middle = {3: (5,), 4: (3, 5)}.get(depth, (3, 4, 5))
    for number in middle:
        convolve(number, maps[number], 3, groups=1 if number == middle[0] else groups)
        after(number, "act")
    chain.pool("pool5", window)
    if depth == 6:
        convolve(6, m5, 3)
        after(6, "act")
    for number in (6, 7):
        chain.connect(f"fc{number}", shape.hidden, starts.get(f"fc{number}", Start()))
        if batch_norm:
            chain.add(f"batch_norm_fc{number}", BatchNorm(shape.hidden))
        chain.activate(f"act_fc{number}")
        chain.drop(f"drop{number}", dropout)
    chain.connect("fc8", classes, starts.get("fc8", Start()))
    return chain.network()
