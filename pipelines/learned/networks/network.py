"""Networks that are a chain of named layers, and a builder that adds layer after layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil, prod
from typing import Any, Literal

import torch
from torch import nn

from pipelines.learned.batch_noise import BatchNoise
from pipelines.learned.layers import CeilConv2d, Dropout, Local2d
from pipelines.learned.normalization import BatchNorm, LocalResponseNorm

Activation = Literal["relu", "tanh", "sigmoid"]
Init = Literal["published", "he"]
WeightLayer = nn.Conv2d | nn.Linear | Local2d
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),  # no other layer reads a ReLU's input
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


@dataclass(frozen=True)
class LayerInit:
    """How one layer is initialized and updated: its lines in cuda-convnet's parameter files.

    Attributes
    ----------
    std : float
        Standard deviation of the normal distribution, of mean 0, that weights are drawn from.
    bias : float
        Initial value of the biases.
    lr_factor, bias_lr_factor : float
        Multiples of the learning rate for the weights and for the biases.
    weight_decay_factor : float
        Multiple of the recipe's weight decay for the weights; biases do not decay.
    """

    std: float = 0.01
    bias: float = 0.0
    lr_factor: float = 1.0
    bias_lr_factor: float = 1.0
    weight_decay_factor: float = 1.0


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters with the same multiples of learning rate and weight decay.

    `is_bias`: biases, and what is updated as they are; `is_sharded`: each process holds a shard of
    them instead of all values.
    """

    parameters: list[nn.Parameter]
    lr_factor: float
    weight_decay_factor: float
    is_bias: bool
    is_sharded: bool

    @property
    def size(self) -> int:
        """Number of values."""
        return sum(parameter.numel() for parameter in self.parameters)


class Network(nn.Module):
    """A chain of layers from (N, 3, crop, crop) float images to (N, classes) logits.

    Parameters
    ----------
    layers : mapping of str to nn.Module
        In order.
    crop : int
        Pixels per side of the images.
    outputs : mapping of str to tuple of int
        The shape of each layer's output for one image.
    inits : mapping of str to LayerInit
        For each layer that has weights.
    shard_dims : mapping of str to int, optional
        In a network that is one process's shard: the dimension along which each sharded parameter
        or buffer is divided.
    """

    def __init__(
        self,
        layers: Mapping[str, nn.Module],
        *,
        crop: int,
        outputs: Mapping[str, tuple[int, ...]],
        inits: Mapping[str, LayerInit],
        shard_dims: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.crop = crop
        self.outputs = dict(outputs)
        self.inits = dict(inits)
        self.shard_dims = dict(shard_dims or {})
        for name, layer in layers.items():
            self.add_module(name, layer)

    @property
    def num_classes(self) -> int:
        return list(self.outputs.values())[-1][0]

    def forward(self, images: torch.Tensor, noise: BatchNoise | None = None) -> torch.Tensor:
        """Return the logits: with `noise` as in training, with None as at test time."""
        return apply_layers(self.children(), images, noise)

    def hidden(self, images: torch.Tensor) -> torch.Tensor:
        """Return (N, d): the input of the last layer at test time."""
        *hidden_layers, _ = self.children()
        return apply_layers(hidden_layers, images, None).flatten(1)

    def split_before_second_convolution(self) -> tuple[list[nn.Module], list[nn.Module]]:
        """Return the layers up to the second convolution, and the others."""
        layers = list(self.children())
        convolutions = [i for i, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]
        second = convolutions[1] if len(convolutions) > 1 else len(layers)
        return layers[:second], layers[second:]

    def filters(self) -> dict[str, torch.Tensor]:
        """Return the weights of the first layer, (maps, 3, height, width), by name.

        They are listed by column where the second convolution keeps columns apart.
        """
        convolutions = [
            (name, layer) for name, layer in self.named_children() if isinstance(layer, nn.Conv2d)
        ]
        (name, first), *others = convolutions
        columns = others[0][1].groups if others else 1
        weights = first.weight.detach()
        if columns == 1:
            return {name: weights}
        return {f"{name}, column {i}": part for i, part in enumerate(weights.chunk(columns), 1)}

    def initialize(self, init: Init, generator: torch.Generator) -> None:
        """Draw the weights.

        Parameters
        ----------
        init : {"published", "he"}
            "published" draws each layer as the network's authors say. "he" draws weights from
            N(0, 2 / (fan-in * m)) and sets biases to 0 (He et al. 2015). m is the factor by which
            normalization or dropout before the layer reduces the mean square of its input, so that
            signals keep their size from layer to layer. The last layer keeps the published weights,
            so that training starts from nearly equal classes.
        generator : torch.Generator
            On the CPU, so that a seed means the same network on every device.
        """
        last = list(dict(self._weight_layers()))[-1]
        mean_square_factor = 1.0
        for name, layer in self.named_children():
            if isinstance(layer, LocalResponseNorm):
                mean_square_factor = layer.k ** (-2 * layer.beta)  # for small values
            elif isinstance(layer, Dropout):
                mean_square_factor = 1 - layer.p
            elif isinstance(layer, WeightLayer):
                std, bias = self.inits[name].std, self.inits[name].bias
                if init == "he":
                    bias = 0.0
                    if name != last:
                        std = (2 / (_fan_in(layer) * mean_square_factor)) ** 0.5
                _draw(layer, std, bias, generator)
                mean_square_factor = 1.0

    def scale_init_like(self, reference: Network) -> None:
        """Scale the published initialization so that signals keep their size as in a wider network.

        The standard deviation of each layer grows with the root of the ratio of fan-ins. Without
        that a deep narrow network passes on little but its biases and does not start to learn. The
        last layer keeps its standard deviation, so that training starts from nearly equal classes.
        """
        reference_layers = dict(reference._weight_layers())
        for name, layer in list(self._weight_layers())[:-1]:
            init = self.inits[name]
            ratio = _fan_in(reference_layers[name]) / _fan_in(layer)
            self.inits[name] = replace(init, std=init.std * ratio**0.5)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return all parameters, grouped by their multiples; sharded groups come first."""
        members: dict[tuple[float, float, bool, bool], list[nn.Parameter]] = {}
        for name, layer in self.named_children():
            init = self.inits.get(name, LayerInit())
            for kind, parameter in layer.named_parameters():
                # Scales and shifts of batch normalization are updated as biases are.
                is_bias = name not in self.inits or kind != "weight"
                factors = init.lr_factor, init.weight_decay_factor
                if is_bias:
                    factors = init.bias_lr_factor, 0.0
                key = (*factors, is_bias, f"{name}.{kind}" in self.shard_dims)
                members.setdefault(key, []).append(parameter)
        groups = [ParameterGroup(parameters, *key) for key, parameters in members.items()]
        return sorted(groups, key=lambda group: not group.is_sharded)

    def layers(self) -> list[dict[str, Any]]:
        """Return one dict per layer, for one view.

        Keys are `name`, `output` (channels, height, width) or (units,), `parameters` and
        `multiply_adds`.
        """
        named = self.named_children()
        return [
            _describe(name, layer, self.outputs[name])
            for name, layer in named
            if name in self.outputs
        ]

    def _weight_layers(self) -> Iterator[tuple[str, WeightLayer]]:
        for name, layer in self.named_children():
            if isinstance(layer, WeightLayer):
                yield name, layer


class NetworkBuilder:
    """Adds layer after layer and keeps track of the shape of the last output.

    Parameters
    ----------
    crop : int
        Pixels per side of the input images.
    activation : {"relu", "tanh", "sigmoid"}

    Attributes
    ----------
    shape : tuple of int
        Output of the last layer for one image: (channels, height, width) or (units,).
    """

    def __init__(self, crop: int, activation: Activation) -> None:
        self.crop, self.activation = crop, activation
        self.shape: tuple[int, ...] = (3, crop, crop)
        self.layers: dict[str, nn.Module] = {}
        self.outputs: dict[str, tuple[int, ...]] = {}
        self.inits: dict[str, LayerInit] = {}

    def network(self) -> Network:
        """Return the network of all layers added so far."""
        return Network(self.layers, crop=self.crop, outputs=self.outputs, inits=self.inits)

    def convolve(
        self,
        name: str,
        maps: int,
        kernel: int,
        init: LayerInit,
        *,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
    ) -> None:
        """Add a convolution; by default the padding keeps the size."""
        padding = kernel // 2 if padding is None else padding
        channels, side, _ = self.shape
        side = ceil((side + 2 * padding - kernel) / stride) + 1
        layer = CeilConv2d(channels, maps, kernel, stride, padding, groups=groups)
        self._add_weights(name, layer, (maps, side, side), init)

    def local(self, name: str, maps: int, kernel: int, init: LayerInit) -> None:
        """Add a layer of unshared weights."""
        channels, side, _ = self.shape
        layer = Local2d(channels, maps, kernel, side)
        self._add_weights(name, layer, (maps, side, side), init)

    def connect(self, name: str, units: int, init: LayerInit) -> None:
        """Add a fully connected layer."""
        if len(self.shape) == 3:
            self.layers["flatten"] = nn.Flatten()
        self._add_weights(name, nn.Linear(prod(self.shape), units), (units,), init)

    def pool(self, name: str, window: int, *, average: bool = False) -> None:
        """Add pooling at stride 2; the last window ignores what lies past the far edge."""
        channels, side, _ = self.shape
        side = ceil((side - window) / 2) + 1
        layer = (nn.AvgPool2d if average else nn.MaxPool2d)(window, 2, ceil_mode=True)
        self.add(name, layer, (channels, side, side))

    def activate(self, name: str) -> None:
        self.layers[name] = _ACTIVATIONS[self.activation]()

    def drop(self, name: str, p: float) -> None:
        self.layers[name] = Dropout(p)

    def add(self, name: str, layer: nn.Module, shape: tuple[int, ...] | None = None) -> None:
        """Add any layer; without `shape` its output has the shape of its input."""
        self.shape = self.shape if shape is None else shape
        self.layers[name], self.outputs[name] = layer, self.shape

    def _add_weights(
        self, name: str, layer: WeightLayer, shape: tuple[int, ...], init: LayerInit
    ) -> None:
        self.inits[name] = init
        self.add(name, layer, shape)


def apply_layers(
    layers: Iterable[nn.Module], images: torch.Tensor, noise: BatchNoise | None
) -> torch.Tensor:
    """Apply layers in order: with `noise` as in training, with None as at test time."""
    values = images.contiguous(memory_format=torch.channels_last)
    for layer in layers:
        values = layer(values, noise) if isinstance(layer, Dropout | BatchNorm) else layer(values)
    return values


@torch.no_grad()
def _draw(layer: nn.Module, std: float, bias: float, generator: torch.Generator) -> None:
    assert isinstance(layer, WeightLayer)
    layer.weight.copy_(std * torch.randn(layer.weight.shape, generator=generator))
    assert layer.bias is not None
    layer.bias.fill_(bias)


def _fan_in(layer: WeightLayer) -> int:
    return layer.weight.shape[1] if isinstance(layer, Local2d) else layer.weight[0].numel()


def _describe(name: str, layer: nn.Module, output: tuple[int, ...]) -> dict[str, Any]:
    parameters = sum(p.numel() for p in layer.parameters())
    positions = output[1] * output[2] if isinstance(layer, nn.Conv2d) else 1
    weights = layer.weight.numel() if isinstance(layer, WeightLayer) else 0
    return {
        "name": name,
        "output": output,
        "parameters": parameters,
        "multiply_adds": weights * positions,
    }
