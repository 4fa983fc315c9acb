"""How several processes share the training of one network.

data    Every process holds the whole network and sees its own images of each batch; gradients are
        summed, while the backward pass computes those of earlier layers (`gradient_sum`).
model   Two processes hold one column each, as the two GPUs of Krizhevsky et al. 2012, section 3.2.
        Both see every image. Maps or units are exchanged only before the layers that see both
        columns: the first convolution after pool2 and the fully connected layers.
hybrid  Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014. Every
        process does the convolutions of its own images; then it receives the maps of all images
        (scheme a) and does its share of the units of the fully connected layers for the whole
        batch.

In every mode a process ends with the logits of its own images (rank, rank + world_size, ... of the
batch), and the loss is the sum over processes. So the gradient of a parameter that all processes
hold is summed over them, and that of a sharded parameter is complete where it is.

N processes compute the update that one process would, up to rounding. Distances of gradients are
relative to their norm, those of scores after six updates on 270 digits:

float32   Gradients differ by at most 1.4e-6, scores by at most 1.4e-5.
bfloat16  With mode `data` every process rounds the parameter gradients of its own images to 8
          significant bits, and one process rounds those of the whole batch. That is the only
          difference: gradients differ by 0.6 * 2^-8. The other modes also round the terms of the
          gradients of activations: 2.3 * 2^-8. One process that computes a batch in two parts
          differs from itself as with mode `data`, and scores differ by up to 0.05; bfloat16 in
          place of float32 changes gradients by 61 * 2^-8 and scores by up to 0.09.

In either precision training amplifies rounding, as it does between two machines: after 40 updates
with the short recipe the scores of single images are no longer close (by up to 1.7 in float32, 1.1
in bfloat16), and only the errors of trained networks agree.
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
from pipelines.learned.batch_noise import BatchNoise
from pipelines.learned.collectives import Collectives
from pipelines.learned.layers import CeilConv2d, Dropout
from pipelines.learned.networks.network import Network
from pipelines.learned.normalization import BatchNorm, LocalResponseNorm

ParallelMode = Literal["data", "model", "hybrid"]
N_COLUMNS = 2


def shard_network(
    network: Network, mode: ParallelMode, collectives: Collectives, batch_size: int
) -> Network:
    """Return what this process holds of a network in training.

    With one process or mode "data" that is the network itself.

    Parameters
    ----------
    network : Network
    mode : {"data", "model", "hybrid"}
    collectives : Collectives
    batch_size : int
        Images per batch, over all processes.

    Returns
    -------
    Network
        Its `shard_dims` name the dimension along which each parameter and buffer is divided.

    Raises
    ------
    UserError
        If the processes cannot share the work in this way.
    """
    _check_batches(network, mode, collectives.world_size, batch_size)
    if collectives.world_size == 1 or mode == "data":
        return network
    sharder = _ColumnSharder if mode == "model" else _HybridSharder
    return sharder(network, collectives, batch_size).sharded_network()


def shard(
    arrays: Mapping[str, torch.Tensor], shard_dims: Mapping[str, int], collectives: Collectives
) -> State:
    """Return this process's shards of full arrays.

    Parameters
    ----------
    arrays : mapping of str to torch.Tensor
        Their names are a prefix, a dot and a name in `shard_dims`, such as `network.fc6.weight`.
        Arrays with other names are returned as they are.
    shard_dims : mapping of str to int
    collectives : Collectives
    """
    shards = {}
    for name, array in arrays.items():
        dim = shard_dims.get(name.partition(".")[2])
        if dim is not None:
            array = array.chunk(collectives.world_size, dim)[collectives.rank]
        shards[name] = array
    return shards


def unshard(
    arrays: Mapping[str, torch.Tensor], shard_dims: Mapping[str, int], collectives: Collectives
) -> State:
    """Return the full arrays of shards, the inverse of `shard`. Every process must call it."""
    full_arrays = {}
    for name, array in arrays.items():
        dim = shard_dims.get(name.partition(".")[2])
        if dim is not None:
            array = torch.cat(list(collectives.gather(array)), dim)
        full_arrays[name] = array
    return full_arrays


def _check_batches(network: Network, mode: ParallelMode, world_size: int, batch_size: int) -> None:
    has_batch_norm = any(isinstance(layer, BatchNorm) for layer in network.children())
    if has_batch_norm and batch_size < 2:
        raise UserError(
            "batch_norm=true needs batches of at least two images, and there is one training image"
        )
    if world_size == 1:
        return
    if batch_size < world_size:
        raise UserError(
            f"{world_size} processes cannot share batches of {batch_size} images: start at most "
            f"{batch_size} processes"
        )
    if mode != "model" and has_batch_norm:
        raise UserError(
            "batch_norm=true needs whole batches in one process: start one process, without "
            "torchrun, or use parallel=model"
        )
    if mode == "model" and world_size != N_COLUMNS:
        raise UserError(
            f"parallel=model puts one column on each of {N_COLUMNS} processes, and there are "
            f"{world_size}: start {N_COLUMNS}, or use parallel=hybrid"
        )


class _Sharder(ABC):
    """Goes through a network layer by layer and makes this process's layers."""

    def __init__(self, network: Network, collectives: Collectives, batch_size: int) -> None:
        self.network, self.collectives, self.batch_size = network, collectives, batch_size
        self.layers: dict[str, nn.Module] = {}
        self.shard_dims: dict[str, int] = {}
        self.is_sharded = False  # whether the last output is only this process's maps or units

    def sharded_network(self) -> Network:
        last = list(self.network.outputs)[-1]
        for name, layer in self.network.named_children():
            if isinstance(layer, nn.Linear) and name == last:
                self._add_last(name, layer)
            elif isinstance(layer, nn.Linear):
                self._add_hidden(name, layer)
            elif isinstance(layer, Dropout) and self.is_sharded:
                self.layers[name] = ShardedDropout(layer.p, self.collectives)
            else:
                self._add_layer(name, layer)
        network = self.network
        sharded = Network(
            self.layers,
            crop=network.crop,
            outputs=network.outputs,
            inits=network.inits,
            shard_dims=self.shard_dims,
        )
        sharded.to(next(network.parameters()))  # same device and type
        arrays = {f"network.{name}": array for name, array in network.state_dict().items()}
        shards = shard(arrays, self.shard_dims, self.collectives)
        sharded.load_state_dict(
            {name.removeprefix("network."): array for name, array in shards.items()}
        )
        return sharded

    @abstractmethod
    def _add_layer(self, name: str, layer: nn.Module) -> None:
        """Add this process's layer for one that is neither fully connected nor sharded dropout."""

    def _gather_units(self, name: str) -> None:
        if self.is_sharded:
            self.layers[f"units_of_{name}"] = GatherUnits(self.collectives)

    def _add_sharded(self, name: str, layer: nn.Module, dim: int, *arrays: str) -> None:
        self.layers[name] = layer
        self.shard_dims |= {f"{name}.{array}": dim for array in arrays}

    def _add_hidden(self, name: str, layer: nn.Linear) -> None:
        """Add a layer from all units to this process's units."""
        self._gather_units(name)
        linear = nn.Linear(layer.in_features, self._share(name, layer.out_features))
        self._add_sharded(name, linear, 0, "weight", "bias")
        self.is_sharded = True

    def _add_last(self, name: str, layer: nn.Linear) -> None:
        """Add a layer from this process's units to terms of all logits.

        Sharding its input works for any number of classes and exchanges less than its units.
        """
        units = layer.in_features // self.collectives.world_size
        logits = ShardedLogits(units, layer.out_features, self.collectives, self.batch_size)
        self._add_sharded(name, logits, 1, "weight")

    def _share(self, name: str, size: int) -> int:
        world_size = self.collectives.world_size
        if size % world_size:
            raise UserError(
                f"the {size} units of {name} cannot be divided evenly among {world_size} processes:"
                f" start a number of processes that divides {size}"
            )
        return size // world_size


class _ColumnSharder(_Sharder):
    """Puts one column of maps and units on each process."""

    def _add_layer(self, name: str, layer: nn.Module) -> None:
        if isinstance(layer, CeilConv2d):
            self._add_convolution(name, layer)
        elif isinstance(layer, LocalResponseNorm):
            if layer.columns != self.collectives.world_size:
                raise UserError(
                    "parallel=model needs columns=2: with other values the normalization of one "
                    "process's maps depends on the other's"
                )
            self.layers[name] = LocalResponseNorm(
                k=layer.k, n=layer.n, alpha=layer.alpha, beta=layer.beta
            )
        elif isinstance(layer, BatchNorm):
            features = self._share(name, len(layer.mean))
            norm = BatchNorm(features, epsilon=layer.epsilon, momentum=layer.momentum)
            self._add_sharded(name, norm, 0, "weight", "bias", "mean", "variance")
        else:
            self.layers[name] = deepcopy(layer)

    def _add_convolution(self, name: str, layer: CeilConv2d) -> None:
        """Add one group of two, or half of the maps of a layer that sees both columns."""
        channels = layer.in_channels
        if layer.groups == self.collectives.world_size:
            channels //= self.collectives.world_size
        else:
            self._gather_units(name)
        maps = self._share(name, layer.out_channels)
        kernel, stride, padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
        convolution = CeilConv2d(channels, maps, kernel, stride, padding)
        self._add_sharded(name, convolution, 0, "weight", "bias")
        self.is_sharded = True


class _HybridSharder(_Sharder):
    """Copies the convolutions and divides the units of the fully connected layers."""

    def _add_layer(self, name: str, layer: nn.Module) -> None:
        if isinstance(layer, nn.Flatten):
            self.layers["images"] = GatherImages(self.collectives, self.batch_size)
        self.layers[name] = deepcopy(layer)


class GatherUnits(nn.Module):
    """(N, units / world_size, ...) -> (N, units, ...)."""

    def __init__(self, collectives: Collectives) -> None:
        super().__init__()
        self.collectives = collectives

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.collectives.gather_units(values)


class GatherImages(nn.Module):
    """(images of this process, ...) -> (batch_size, ...)."""

    def __init__(self, collectives: Collectives, batch_size: int) -> None:
        super().__init__()
        self.collectives, self.batch_size = collectives, batch_size

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.collectives.gather_images(values, self.batch_size)


class ShardedLogits(nn.Module):
    """The last layer: (batch_size, units / world_size) -> (images of this process, classes).

    The logits are the sum of the terms of all processes.

    Attributes
    ----------
    weight : (classes, units / world_size), sharded along dimension 1
    bias : (classes,), on every process
    """

    def __init__(self, units: int, classes: int, collectives: Collectives, batch_size: int) -> None:
        super().__init__()
        self.collectives, self.batch_size = collectives, batch_size
        self.weight = nn.Parameter(torch.empty(classes, units))
        self.bias = nn.Parameter(torch.empty(classes))

    def forward(self, units: torch.Tensor) -> torch.Tensor:
        terms = F.linear(units, self.weight)
        return self.collectives.reduce_scatter_images(terms, self.batch_size) + self.bias


class ShardedDropout(Dropout):
    """Dropout of this process's units for all images of the batch.

    Draws the random numbers of all units, as one process does, and uses those of its own.
    """

    def __init__(self, p: float, collectives: Collectives) -> None:
        super().__init__(p)
        self.collectives = collectives

    def forward(self, units: torch.Tensor, noise: BatchNoise | None) -> torch.Tensor:
        assert noise is not None  # a sharded network is for training only
        if self.p == 0:
            return units
        world_size, rank = self.collectives.world_size, self.collectives.rank
        numbers = noise.full_batch.uniform(units.shape[1] * world_size)
        return units * (numbers.chunk(world_size, dim=1)[rank] >= self.p)
