"""The networks for CIFAR-10 that came with cuda-convnet (Krizhevsky 2011), named after their time or their error.

Layers and parameters as in `example-layers/` of its source. Pixels are gray levels less the mean image, not divided by 255.
"""

from __future__ import annotations

from typing import Literal

from pipelines.learned.networks.network import Activation, Chain, Network, Start
from pipelines.learned.normalization import LocalResponseNorm, SameMapNorm

Layers = Literal["80sec", "19pct", "18pct", "13pct", "11pct"]

DECAY = 0.004  # the weight decay of most layers; the others' are given as multiples of it


def cuda_convnet(layers: Layers, *, classes: int, activation: Activation = "relu") -> Network:
    """(N, 3, 32, 32) -> (N, classes); 13pct and 11pct take crops of 24 pixels."""
    return (_local if layers in ("13pct", "11pct") else _convolutional)(layers, classes, activation)


def _convolutional(layers: Layers, classes: int, activation: Activation) -> Network:
    """Three convolutions; the first pool is of maxima, the others of means; 80sec has a hidden layer, 18pct normalizes within maps."""
    chain = Chain(32, activation)

    def normalize(number: int) -> None:
        if layers == "18pct":
            chain.add(f"rnorm{number}", SameMapNorm(size=3, scale=5e-5))

    chain.convolve("conv1", 32, 5, _start(1e-4))
    chain.pool("pool1", 3)
    chain.activate("act1")
    normalize(1)
    chain.convolve("conv2", 32, 5, _start(0.01))
    chain.activate("act2")
    chain.pool("pool2", 3, average=True)
    normalize(2)
    chain.convolve("conv3", 64, 5, _start(0.01))
    chain.activate("act3")
    chain.pool("pool3", 3, average=True)
    if layers == "80sec":
        chain.connect("fc64", 64, _start(0.1, 0.03))
        chain.activate("act_fc64")
    chain.connect(
        "fc10",
        classes,
        {"80sec": _start(0.1, 0.03), "19pct": _start(0.01, 3.0), "18pct": _start(0.01, 1.0)}[
            layers
        ],
    )
    return chain.network()


def _local(layers: Layers, classes: int, activation: Activation) -> Network:
    """Two convolutions and two layers of local, unshared weights; 11pct normalizes across maps and has a wider local3."""
    chain = Chain(24, activation)
    eleven = layers == "11pct"

    def normalize(number: int) -> None:
        if eleven:
            chain.add(f"rnorm{number}", LocalResponseNorm(k=1.0, n=9, alpha=0.001 / 9))

    chain.convolve("conv1", 64, 5, _start(1e-4, 0.0))
    chain.activate("act1")
    chain.pool("pool1", 3)
    normalize(1)
    chain.convolve("conv2", 64, 5, _start(0.01, 0.0))
    chain.activate("act2")
    normalize(2)
    chain.pool("pool2", 3)
    chain.local("local3", 64 if eleven else 32, 3, _start(0.04))
    chain.activate("act3")
    chain.local("local4", 32, 3, _start(0.04))
    chain.activate("act4")
    chain.connect("fc10", classes, _start(0.01, 0.01 if eleven else DECAY))
    return chain.network()


def _start(deviation: float, decay: float = DECAY) -> Start:
    return Start(deviation, bias_rate=2.0, decay=decay / DECAY)
