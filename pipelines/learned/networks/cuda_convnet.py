"""The networks for CIFAR-10 of cuda-convnet (Krizhevsky 2011), named after their time or error.

Layers and parameters are those of `example-layers/` in its source. Pixels are gray levels less the
mean image, not divided by 255.
"""

from __future__ import annotations

from typing import Literal

from pipelines.learned.networks.network import Activation, LayerInit, Network, NetworkBuilder
from pipelines.learned.normalization import LocalResponseNorm, SameMapNorm

Layers = Literal["80sec", "19pct", "18pct", "13pct", "11pct"]

BASE_WEIGHT_DECAY = 0.004  # of most layers; the others have multiples of it


def cuda_convnet(layers: Layers, *, num_classes: int, activation: Activation = "relu") -> Network:
    """Build one of the networks.

    Parameters
    ----------
    layers : {"80sec", "19pct", "18pct", "13pct", "11pct"}
        13pct and 11pct take crops of 24 pixels, the others images of 32.
    num_classes : int
    activation : {"relu", "tanh", "sigmoid"}
    """
    if layers in ("13pct", "11pct"):
        return _locally_connected(layers, num_classes, activation)
    return _convolutional(layers, num_classes, activation)


def _convolutional(layers: Layers, num_classes: int, activation: Activation) -> Network:
    """Build three convolutions: max pooling after the first, average pooling after the others.

    80sec has a hidden layer; 18pct normalizes within maps.
    """
    builder = NetworkBuilder(32, activation)

    def normalize(number: int) -> None:
        if layers == "18pct":
            builder.add(f"rnorm{number}", SameMapNorm(size=3, scale=5e-5))

    builder.convolve("conv1", 32, 5, _init(1e-4))
    builder.pool("pool1", 3)
    builder.activate("act1")
    normalize(1)
    builder.convolve("conv2", 32, 5, _init(0.01))
    builder.activate("act2")
    builder.pool("pool2", 3, average=True)
    normalize(2)
    builder.convolve("conv3", 64, 5, _init(0.01))
    builder.activate("act3")
    builder.pool("pool3", 3, average=True)
    if layers == "80sec":
        builder.connect("fc64", 64, _init(0.1, 0.03))
        builder.activate("act_fc64")
    last = {"80sec": _init(0.1, 0.03), "19pct": _init(0.01, 3.0), "18pct": _init(0.01, 1.0)}
    builder.connect("fc10", num_classes, last[layers])
    return builder.network()


def _locally_connected(layers: Layers, num_classes: int, activation: Activation) -> Network:
    """Build two convolutions and two locally connected layers.

    11pct normalizes across maps and has a wider local3.
    """
    builder = NetworkBuilder(24, activation)
    is_11pct = layers == "11pct"

    def normalize(number: int) -> None:
        if is_11pct:
            builder.add(f"rnorm{number}", LocalResponseNorm(k=1.0, n=9, alpha=0.001 / 9))

    builder.convolve("conv1", 64, 5, _init(1e-4, 0.0))
    builder.activate("act1")
    builder.pool("pool1", 3)
    normalize(1)
    builder.convolve("conv2", 64, 5, _init(0.01, 0.0))
    builder.activate("act2")
    normalize(2)
    builder.pool("pool2", 3)
    builder.local("local3", 64 if is_11pct else 32, 3, _init(0.04))
    builder.activate("act3")
    builder.local("local4", 32, 3, _init(0.04))
    builder.activate("act4")
    builder.connect("fc10", num_classes, _init(0.01, 0.01 if is_11pct else BASE_WEIGHT_DECAY))
    return builder.network()


def _init(std: float, weight_decay: float = BASE_WEIGHT_DECAY) -> LayerInit:
    factor = weight_decay / BASE_WEIGHT_DECAY
    return LayerInit(std, bias_lr_factor=2.0, weight_decay_factor=factor)
