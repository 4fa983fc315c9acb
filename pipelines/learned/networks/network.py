"""Networks that are a chain of named layers, built layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil, prod
from typing import Any, Literal

import torch
from torch import nn

from pipelines.learned.layers import CeilConv2d, Dropout, Local2d
from pipelines.learned.noise import BatchNoise
from pipelines.learned.normalization import BatchNorm, LocalResponseNorm

Activation = Literal["relu", "tanh", "sigmoid"]
Init = Literal["published", "he"]
Weighted = nn.Conv2d | nn.Linear | Local2d
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),  # what comes before a ReLU is nobody else's
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


@dataclass(frozen=True)
class Start:
    """How the weights of one layer begin and move: the line of a layer in cuda-convnet's parameter files.

    deviation   of the normal distribution, around 0, that weights are drawn from
    bias        first value of the biases
    rate        what the learning rate is multiplied by, for the weights
    bias_rate   the same for the biases
    decay       what the recipe's weight decay is multiplied by; biases do not decay
    """

    deviation: float = 0.01
    bias: float = 0.0
    rate: float = 1.0
    bias_rate: float = 1.0
    decay: float = 1.0


@dataclass(frozen=True)
class Group:
    """Parameters that move alike: multiples of the learning rate and of the recipe's weight decay.

    shared  whether every process that trains the network holds them, or a part of its own
    """

    parameters: list[nn.Parameter]
    rate: float
    decay: float
    shared: bool


class Network(nn.Module):
    """(N, 3, crop, crop) float -> (N, classes) logits.

    outputs  the shape of what each layer makes of one image
    cuts     of the part of a network that one of several processes holds: the dimension along which a parameter or buffer is cut
    """

    def __init__(
        self,
        layers: Mapping[str, nn.Module],
        *,
        crop: int,
        outputs: Mapping[str, tuple[int, ...]],
        starts: Mapping[str, Start],
        cuts: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.crop, self.outputs, self.starts, self.cuts = (
            crop,
            dict(outputs),
            dict(starts),
            dict(cuts or {}),
        )
        for name, layer in layers.items():
            self.add_module(name, layer)

    @property
    def classes(self) -> int:
        return list(self.outputs.values())[-1][0]

    def forward(self, images: torch.Tensor, noise: BatchNoise | None = None) -> torch.Tensor:
        """`noise` given: training; None: test."""
        return _through(self.children(), images, noise)

    def hidden(self, images: torch.Tensor) -> torch.Tensor:
        """(N, d) what the last layer makes the logits of, at test."""
        *hidden, _ = self.children()
        return _through(hidden, images, None).flatten(1)

    def filters(self) -> dict[str, torch.Tensor]:
        """Name -> (maps, 3, height, width) weights of the first layer; a column each, where the second convolution keeps columns apart."""
        (name, first), *others = [
            (name, layer) for name, layer in self.named_children() if isinstance(layer, nn.Conv2d)
        ]
        columns = others[0][1].groups if others else 1
        parts = first.weight.detach().chunk(columns)
        return {
            f"{name}, column {i}" if columns > 1 else name: part for i, part in enumerate(parts, 1)
        }

    def initialize(self, init: Init, generator: torch.Generator) -> None:
        """Draw the weights; the generator is on the CPU, so that a seed means the same network on every device.

        "published": as the network's authors say, layer by layer.
        "he": N(0, 2 / (fan-in * m)) weights, m the factor by which normalization or dropout before the layer lowers the mean square of
        what comes in, so that signals keep their size from layer to layer (He et al. 2015); biases 0. The last layer keeps the
        published weights, so that training starts from nearly equal classes.
        """
        weighted = dict(self._weighted())
        last, factor = list(weighted)[-1], 1.0
        for name, layer in self.named_children():
            if isinstance(layer, LocalResponseNorm):
                factor = layer.k ** (-2 * layer.beta)  # of small values
            elif isinstance(layer, Dropout):
                factor = 1 - layer.p
            elif name in weighted:
                start = self.starts[name]
                he = init == "he"
                deviation = (
                    (2 / (_fan_in(weighted[name]) * factor)) ** 0.5
                    if he and name != last
                    else start.deviation
                )
                with torch.no_grad():
                    weighted[name].weight.copy_(
                        deviation * torch.randn(weighted[name].weight.shape, generator=generator)
                    )
                    weighted[name].bias.fill_(0.0 if he else start.bias)  # type: ignore[union-attr]
                factor = 1.0

    def start_like(self, wide: Network) -> None:
        """Let the published weights, drawn for the layers of `wide`, keep the size of signals in this narrower network: a deviation grows
        with the root of the ratio of fan-ins. Without that a deep narrow network passes on little but its biases and does not start.
        The last layer's deviation stays, so that training starts from nearly equal classes.
        """
        theirs = dict(wide._weighted())
        for name, layer in list(self._weighted())[:-1]:
            start = self.starts[name]
            ratio = _fan_in(theirs[name]) / _fan_in(layer)
            self.starts[name] = replace(start, deviation=start.deviation * ratio**0.5)

    def groups(self) -> list[Group]:
        """All parameters, those that move alike together, and shared ones last."""
        found: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
        for name, layer in self.named_children():
            start = self.starts.get(name, Start())
            for kind, parameter in layer.named_parameters():
                weight = (
                    name in self.starts and kind == "weight"
                )  # the scales and shifts of batch normalization move as biases do
                key = (
                    *((start.rate, start.decay) if weight else (start.bias_rate, 0.0)),
                    f"{name}.{kind}" not in self.cuts,
                )
                found.setdefault(key, []).append(parameter)
        groups = [Group(parameters, *key) for key, parameters in found.items()]
        return sorted(groups, key=lambda group: group.shared)

    def layers(self) -> list[dict[str, Any]]:
        """One dict a layer: `name`, `output` (channels, height, width) or (units,), `parameters`, `multiply_adds` for one view."""
        return [
            _row(name, layer, self.outputs[name])
            for name, layer in self.named_children()
            if name in self.outputs
        ]

    def _weighted(self) -> Iterator[tuple[str, Weighted]]:
        for name, layer in self.named_children():
            if isinstance(layer, Weighted):
                yield name, layer


class Chain:
    """Puts a network together, and knows the shape of what the last layer so far makes."""

    def __init__(self, crop: int, activation: Activation) -> None:
        self.crop, self.activation = crop, activation
        self.shape: tuple[int, ...] = (3, crop, crop)
        self.layers: dict[str, nn.Module] = {}
        self.outputs: dict[str, tuple[int, ...]] = {}
        self.starts: dict[str, Start] = {}

    def network(self) -> Network:
        return Network(self.layers, crop=self.crop, outputs=self.outputs, starts=self.starts)

    def convolve(
        self,
        name: str,
        maps: int,
        kernel: int,
        start: Start,
        *,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
    ) -> None:
        """Keeps the size by default."""
        padding = kernel // 2 if padding is None else padding
        channels, side, _ = self.shape
        side = ceil((side + 2 * padding - kernel) / stride) + 1
        self._weigh(
            name,
            CeilConv2d(channels, maps, kernel, stride, padding, groups=groups),
            (maps, side, side),
            start,
        )

    def local(self, name: str, maps: int, kernel: int, start: Start) -> None:
        channels, side, _ = self.shape
        self._weigh(name, Local2d(channels, maps, kernel, side), (maps, side, side), start)

    def connect(self, name: str, units: int, start: Start) -> None:
        """Fully, to all values before it."""
        if len(self.shape) == 3:
            self.layers["flatten"] = nn.Flatten()
        self._weigh(name, nn.Linear(prod(self.shape), units), (units,), start)

    def pool(self, name: str, window: int, *, average: bool = False) -> None:
        """At a stride of 2; the last window may reach past the far edge, of which it sees nothing."""
        channels, side, _ = self.shape
        side = ceil((side - window) / 2) + 1
        self.add(
            name,
            (nn.AvgPool2d if average else nn.MaxPool2d)(window, 2, ceil_mode=True),
            (channels, side, side),
        )

    def activate(self, name: str) -> None:
        self.layers[name] = _ACTIVATIONS[self.activation]()

    def drop(self, name: str, p: float) -> None:
        self.layers[name] = Dropout(p)

    def add(self, name: str, layer: nn.Module, shape: tuple[int, ...] | None = None) -> None:
        """A layer whose output is of `shape`; by default of its input's."""
        self.shape = self.shape if shape is None else shape
        self.layers[name], self.outputs[name] = layer, self.shape

    def _weigh(self, name: str, layer: Weighted, shape: tuple[int, ...], start: Start) -> None:
        self.starts[name] = start
        self.add(name, layer, shape)


def _through(
    layers: Iterable[nn.Module], images: torch.Tensor, noise: BatchNoise | None
) -> torch.Tensor:
    values = images.contiguous(memory_format=torch.channels_last)
    for layer in layers:
        values = layer(values, noise) if isinstance(layer, (Dropout, BatchNorm)) else layer(values)
    return values


def _fan_in(layer: Weighted) -> int:
    return layer.weight.shape[1] if isinstance(layer, Local2d) else layer.weight[0].numel()


def _row(name: str, layer: nn.Module, output: tuple[int, ...]) -> dict[str, Any]:
    parameters = sum(p.numel() for p in layer.parameters())
    positions = output[1] * output[2] if isinstance(layer, nn.Conv2d) else 1
    weights = layer.weight.numel() if isinstance(layer, Weighted) else 0
    return {
        "name": name,
        "output": output,
        "parameters": parameters,
        "multiply_adds": weights * positions,
    }
