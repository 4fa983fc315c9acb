"""One network trained by several processes: which part of the work each of them does.

data    every process holds the whole network and sees its own images of each batch; gradients are summed.
model   two processes, one column each, as on the two GPUs of Krizhevsky et al. 2012, section 3.2: both see every image, and maps or units
        are exchanged before the layers that look at both columns (the first convolution after pool2, and the fully connected ones) only.
hybrid  Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014: every process does the convolutions of its
        own images; then it gets everybody's maps (scheme a) and does its share of the units of the fully connected layers for the
        whole batch.

Whatever the mode, a process ends with the logits of its own images (rank, rank + world, ... of the batch), and the loss is the sum of
everybody's. So the gradient of a parameter that all hold is summed over processes, and that of a part is complete where it lies.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import deepcopy
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from harness.contract import State, UserError
from pipelines.learned.exchange import Exchange
from pipelines.learned.layers import CeilConv2d, Dropout
from pipelines.learned.networks.network import Network
from pipelines.learned.noise import BatchNoise
from pipelines.learned.normalization import BatchNorm, LocalResponseNorm

Mode = Literal["data", "model", "hybrid"]
COLUMNS = 2


def part_of(network: Network, mode: Mode, exchange: Exchange, batch: int) -> Network:
    """What this process holds of the network while it is trained on batches of `batch` images; with mode `data` the network itself.

    The part's `cuts` say along which dimension each parameter and buffer is cut. Raises UserError when the work cannot be shared so.
    """
    norms = any(isinstance(layer, BatchNorm) for layer in network.children())
    if norms and batch < 2:
        raise UserError(
            "batch_norm=true needs batches of two images or more, and there is one training image"
        )
    if exchange.world_size == 1:
        return network
    if batch < exchange.world_size:
        raise UserError(
            f"{exchange.world_size} processes cannot share batches of {batch} images: start at most {batch} processes"
        )
    if mode != "model" and norms:
        raise UserError(
            "batch_norm=true needs whole batches in one process; start it without torchrun, with one process, or with parallel=model"
        )
    if mode == "data":
        return network
    if mode == "model" and exchange.world_size != COLUMNS:
        raise UserError(
            f"parallel=model puts one column on each of {COLUMNS} processes, and there are {exchange.world_size}; start {COLUMNS}, or take parallel=hybrid"
        )
    return (_Columns if mode == "model" else _Hybrid)(network, exchange, batch).part()


def own(arrays: Mapping[str, torch.Tensor], cuts: Mapping[str, int], exchange: Exchange) -> State:
    """This process's part of whole arrays, whose names are those of `cuts` after a first word and a dot."""
    found = {}
    for name, array in arrays.items():
        dim = cuts.get(name.partition(".")[2])
        found[name] = array if dim is None else array.chunk(exchange.world_size, dim)[exchange.rank]
    return found


def whole(arrays: Mapping[str, torch.Tensor], cuts: Mapping[str, int], exchange: Exchange) -> State:
    """The inverse of `own`: every process must call it."""
    found = {}
    for name, array in arrays.items():
        dim = cuts.get(name.partition(".")[2])
        found[name] = array if dim is None else torch.cat(list(exchange.gather(array)), dim)
    return found


class _Cutter(ABC):
    """Goes through a network layer by layer and makes the part's layers."""

    def __init__(self, network: Network, exchange: Exchange, batch: int) -> None:
        self.network, self.exchange, self.batch = network, exchange, batch
        self.layers: dict[str, nn.Module] = {}
        self.cuts: dict[str, int] = {}
        self.parted = False  # whether what the last layer made is this process's maps or units only

    def part(self) -> Network:
        last = list(self.network.outputs)[-1]
        for name, layer in self.network.named_children():
            if isinstance(layer, nn.Linear):
                self._last(name, layer) if name == last else self._connected(name, layer)
            elif isinstance(layer, Dropout) and self.parted:
                self.layers[name] = PartDropout(layer.p, self.exchange)
            else:
                self._before_connected(name, layer)
        network = self.network
        part = Network(
            self.layers,
            crop=network.crop,
            outputs=network.outputs,
            starts=network.starts,
            cuts=self.cuts,
        )
        part.to(next(network.parameters()))  # its device and type
        state = {f"network.{name}": array for name, array in network.state_dict().items()}
        part.load_state_dict(
            {
                name.removeprefix("network."): array
                for name, array in own(state, self.cuts, self.exchange).items()
            }
        )
        return part

    @abstractmethod
    def _before_connected(self, name: str, layer: nn.Module) -> None:
        """Makes the part's layer for one before the fully connected ones."""

    def _gather_units(self, name: str) -> None:
        if self.parted:
            self.layers[f"units_of_{name}"] = Units(self.exchange)

    def _cut(self, name: str, layer: nn.Module, dim: int, *arrays: str) -> None:
        self.layers[name] = layer
        self.cuts |= {f"{name}.{array}": dim for array in arrays}

    def _connected(self, name: str, layer: nn.Linear) -> None:
        """From all units to this process's."""
        self._gather_units(name)
        self._cut(
            name,
            nn.Linear(layer.in_features, self._share(name, layer.out_features)),
            0,
            "weight",
            "bias",
        )
        self.parted = True

    def _last(self, name: str, layer: nn.Linear) -> None:
        """From this process's units to terms of all classes: whatever their number is, and less to exchange than units."""
        self._cut(name, SharedLogits(layer.in_features // self.exchange.world_size, layer.out_features, self.exchange, self.batch), 1, "weight")  # fmt: skip

    def _share(self, name: str, size: int) -> int:
        if size % self.exchange.world_size:
            raise UserError(f"the {size} units of {name} cannot be shared out evenly over {self.exchange.world_size} processes; start another number of them")  # fmt: skip
        return size // self.exchange.world_size


class _Columns(_Cutter):
    def _before_connected(self, name: str, layer: nn.Module) -> None:
        if isinstance(layer, CeilConv2d):
            self._convolution(name, layer)
        elif isinstance(layer, LocalResponseNorm):
            if layer.columns != self.exchange.world_size:
                raise UserError(
                    "parallel=model needs columns=2: only then does each process have maps that need no others"
                )
            self.layers[name] = LocalResponseNorm(
                k=layer.k, n=layer.n, alpha=layer.alpha, beta=layer.beta
            )
        elif isinstance(layer, BatchNorm):
            features = self._share(name, len(layer.mean))
            norm = BatchNorm(features, epsilon=layer.epsilon, momentum=layer.momentum)
            self._cut(name, norm, 0, "weight", "bias", "mean", "variance")
        else:
            self.layers[name] = deepcopy(layer)

    def _convolution(self, name: str, layer: CeilConv2d) -> None:
        """A layer of two groups has one on each process; any other but the first needs both processes' maps."""
        channels = layer.in_channels
        if layer.groups == self.exchange.world_size:
            channels //= self.exchange.world_size
        else:
            self._gather_units(name)
        maps = self._share(name, layer.out_channels)
        kernel, stride, padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
        self._cut(name, CeilConv2d(channels, maps, kernel, stride, padding), 0, "weight", "bias")
        self.parted = True


class _Hybrid(_Cutter):
    def _before_connected(self, name: str, layer: nn.Module) -> None:
        if isinstance(layer, nn.Flatten):
            self.layers["images"] = Images(self.exchange, self.batch)
        self.layers[name] = deepcopy(layer)


class Units(nn.Module):
    """(N, units / world, ...) -> (N, units, ...)."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self.exchange = exchange

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.exchange.units(values)


class Images(nn.Module):
    """(this process's rows, ...) -> (batch, ...)."""

    def __init__(self, exchange: Exchange, batch: int) -> None:
        super().__init__()
        self.exchange, self.batch = exchange, batch

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.exchange.images(values, self.batch)


class SharedLogits(nn.Module):
    """The last layer: (batch, units / world) -> logits (this process's rows, classes), each the sum of all processes' terms.

    weight (classes, units / world), cut along dimension 1; bias (classes,), held by all.
    """

    def __init__(self, units: int, classes: int, exchange: Exchange, batch: int) -> None:
        super().__init__()
        self.exchange, self.batch = exchange, batch
        self.weight, self.bias = (
            nn.Parameter(torch.empty(classes, units)),
            nn.Parameter(torch.empty(classes)),
        )

    def forward(self, units: torch.Tensor) -> torch.Tensor:
        return self.exchange.own_images(F.linear(units, self.weight), self.batch) + self.bias


class PartDropout(Dropout):
    """Dropout of this process's units, for all images of the batch: its part of the numbers that one process would draw."""

    def __init__(self, p: float, exchange: Exchange) -> None:
        super().__init__(p)
        self.exchange = exchange

    def forward(self, units: torch.Tensor, noise: BatchNoise | None) -> torch.Tensor:
        assert noise is not None  # a part is for training
        if self.p == 0:
            return units
        numbers = noise.whole.uniform(units.shape[1] * self.exchange.world_size)
        return units * (
            numbers.chunk(self.exchange.world_size, dim=1)[self.exchange.rank] >= self.p
        )
