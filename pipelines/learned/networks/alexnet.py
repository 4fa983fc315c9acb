"""The network of Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

import torch
from torch import nn

from pipelines.learned.layers import CeilConv2d, Dropout, LocalResponseNorm
from pipelines.learned.noise import BatchNoise

Pool = Literal["overlapping", "plain"]
Activation = Literal["relu", "tanh"]
Init = Literal["2012", "he"]


@dataclass(frozen=True)
class Shape:
    """Sizes of the five convolutional and two hidden fully connected layers. Widths count both columns."""

    stem: tuple[int, int, int]  # kernel, stride, padding of conv1, in pixels
    maps: tuple[int, int, int, int, int]  # feature maps of conv1 to conv5
    second_kernel: int  # of conv2, in pixels; conv3 to conv5 are 3x3
    hidden: int  # units of fc6 and of fc7


FULL = Shape(stem=(11, 4, 0), maps=(96, 256, 384, 384, 256), second_kernel=5, hidden=4096)


def small(crop: int) -> Shape:
    """The variant for images below 128 pixels, given crops of `crop` pixels: about 28 to 55 positions a side after conv1.

    Kernel 2 stride + 3 is the paper's 11 at its stride of 4. Widths are about a third of the paper's, for
    what they cost: 26 epochs of 45,000 images then fit into half an hour on two cores. `benchmarks.alexnet_stem` compares others.
    """
    stride = max(1, crop // 28)
    return Shape(stem=(2 * stride + 3, stride, stride + 1), maps=(32, 96, 128, 128, 96), second_kernel=3, hidden=512)


class AlexNet(nn.Module):
    """(N, 3, crop, crop) float -> (N, classes) logits.

    conv1 -> act -> LRN -> pool -> conv2 -> act -> LRN -> pool -> conv3 -> act -> conv4 -> act -> conv5 -> act -> pool -> fc6 -> fc7 -> fc8.
    Two columns are two groups in conv2, conv4 and conv5; conv3 and the fully connected layers see both (section 3.5, figure 2).
    """

    def __init__(
        self,
        shape: Shape,
        *,
        crop: int,
        classes: int,
        columns: int = 2,
        lrn: bool = True,
        pool: Pool = "overlapping",
        activation: Activation = "relu",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.crop = crop
        kernel, stride, padding = shape.stem
        m1, m2, m3, m4, m5 = shape.maps
        k2 = shape.second_kernel
        act = nn.ReLU if activation == "relu" else nn.Tanh
        window = 3 if pool == "overlapping" else 2
        modules: dict[str, nn.Module] = {
            "conv1": CeilConv2d(3, m1, kernel, stride, padding), "act1": act(), "norm1": LocalResponseNorm(m1), "pool1": nn.MaxPool2d(window, 2, ceil_mode=True),
            "conv2": nn.Conv2d(m1, m2, k2, 1, k2 // 2, groups=columns), "act2": act(), "norm2": LocalResponseNorm(m2), "pool2": nn.MaxPool2d(window, 2, ceil_mode=True),
            "conv3": nn.Conv2d(m2, m3, 3, 1, 1), "act3": act(),
            "conv4": nn.Conv2d(m3, m4, 3, 1, 1, groups=columns), "act4": act(),
            "conv5": nn.Conv2d(m4, m5, 3, 1, 1, groups=columns), "act5": act(), "pool5": nn.MaxPool2d(window, 2, ceil_mode=True),
        }  # fmt: skip
        if not lrn:
            del modules["norm1"], modules["norm2"]
        self.features = nn.Sequential()
        for name, module in modules.items():
            self.features.add_module(name, module)
        side = crop
        for module in modules.values():
            side = _side_after(module, side)
        self.fc6, self.act6, self.drop6 = nn.Linear(m5 * side * side, shape.hidden), act(), Dropout(dropout)
        self.fc7, self.act7, self.drop7 = nn.Linear(shape.hidden, shape.hidden), act(), Dropout(dropout)
        self.fc8 = nn.Linear(shape.hidden, classes)

    def forward(self, images: torch.Tensor, noise: BatchNoise | None = None) -> torch.Tensor:
        """`noise` given: training, with dropout; None: test."""
        maps = self.features(images)
        units = self.drop6(self.act6(self.fc6(maps.flatten(1))), noise)
        units = self.drop7(self.act7(self.fc7(units)), noise)
        return self.fc8(units)

    def initialise(self, init: Init, generator: torch.Generator) -> None:
        """Draw the weights; the generator is on the CPU, so that a seed means the same network on every device.

        "2012": N(0, 0.01^2) weights; biases 1 in conv2, conv4, conv5 and the hidden fully connected layers, else 0 (section 5).
        "he": N(0, 2 / (fan-in * m)) weights, m the factor by which normalisation or dropout before the layer lowers the mean square of
        what comes in, so that signals keep their size from layer to layer (He et al. 2015); biases 0. fc8 keeps the paper's weights, so
        that training starts from nearly equal classes.
        """
        normalised = {"conv2", "conv3"} if hasattr(self.features, "norm1") else set()
        for name, layer in self._weighted():
            if init == "2012" or name == "fc8":
                deviation = 0.01
            else:
                factor = (
                    2.0**-1.5 if name in normalised else 1 - self.drop6.p if name == "fc7" else 1.0
                )  # LRN of small values: k^-beta, k = 2
                deviation = (2 / (layer.weight[0].numel() * factor)) ** 0.5
            bias = 1.0 if init == "2012" and name in {"conv2", "conv4", "conv5", "fc6", "fc7"} else 0.0
            with torch.no_grad():
                layer.weight.copy_(deviation * torch.randn(layer.weight.shape, generator=generator))
                layer.bias.fill_(bias)  # type: ignore[union-attr]

    def layers(self) -> list[dict[str, Any]]:
        """One dict a layer: `name`, `output` (channels, height, width) or (units,), `parameters`, `multiply_adds` for one view."""
        rows = []
        side, maps = self.crop, 3
        for name, module in self.features.named_children():
            side = _side_after(module, side)
            maps = module.out_channels if isinstance(module, nn.Conv2d) else maps
            if not name.startswith("act"):
                rows.append(_row(name, module, (maps, side, side)))
        rows += [_row(name, layer, (layer.out_features,)) for name, layer in self._weighted() if isinstance(layer, nn.Linear)]
        return rows

    def _weighted(self) -> Iterator[tuple[str, nn.Conv2d | nn.Linear]]:
        for name, module in self.named_modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                yield name.rpartition(".")[2], module


def _side_after(module: nn.Module, side: int) -> int:
    """Positions a side of the map that `module` makes from one of `side` positions a side."""
    if isinstance(module, nn.Conv2d):
        kernel, stride, padding = module.kernel_size[0], module.stride[0], int(module.padding[0])
        return ceil((side + 2 * padding - kernel) / stride) + 1
    if isinstance(module, nn.MaxPool2d):
        assert isinstance(module.kernel_size, int)
        assert isinstance(module.stride, int)
        return ceil((side - module.kernel_size) / module.stride) + 1
    return side


def _row(name: str, module: nn.Module, output: tuple[int, ...]) -> dict[str, Any]:
    parameters = sum(p.numel() for p in module.parameters())
    positions = output[1] * output[2] if len(output) == 3 else 1
    weights = module.weight.numel() if isinstance(module, (nn.Conv2d, nn.Linear)) else 0
    return {"name": name, "output": output, "parameters": parameters, "multiply_adds": weights * positions}
