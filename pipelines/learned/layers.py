"""Layers of 2012 that torch lacks."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from pipelines.learned.batch_noise import BatchNoise


class Dropout(nn.Module):
    """Dropout as in the paper: no scaling in training, times 1 - p at test time.

    Krizhevsky et al. 2012, section 4.2, with p = 0.5. torch's layer divides by 1 - p in training
    instead.

    Parameters
    ----------
    p : float
        Probability with which a unit is zeroed in training.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, units: torch.Tensor, noise: BatchNoise | None) -> torch.Tensor:
        """Apply dropout to (N, units): with `noise` as in training, with None as at test time."""
        if self.p == 0:
            return units
        if noise is None:
            return units * (1 - self.p)
        return units * (noise.uniform(units.shape[1]) >= self.p)


class CeilConv2d(nn.Conv2d):
    """Convolution whose last window may reach past the far edge, where it sees zeros.

    The output has ceil((size + 2 padding - kernel) / stride) + 1 positions per side, the geometry
    of cuda-convnet: 224 pixels, 11x11 windows, stride 4 and no padding give 55, as in the paper.
    """

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        kernel, stride, padding = self.kernel_size[0], self.stride[0], int(self.padding[0])
        height, width = ((-(size + 2 * padding - kernel)) % stride for size in images.shape[2:])
        if height or width:
            images = F.pad(images, (0, width, 0, height))
        return super().forward(images)


class Local2d(nn.Module):
    """Locally connected layer, cuda-convnet's `local`: a convolution with unshared weights.

    Stride 1, padded to keep the size; every position has weights and biases of its own.

    Attributes
    ----------
    weight : (positions, channels * kernel^2, maps) float32
    bias : (maps, side, side) float32
    """

    def __init__(self, channels: int, maps: int, kernel: int, side: int) -> None:
        super().__init__()
        self.kernel, self.maps, self.side = kernel, maps, side
        self.weight = nn.Parameter(torch.empty(side * side, channels * kernel**2, maps))
        self.bias = nn.Parameter(torch.empty(maps, side, side))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        # (N, channels * kernel^2, positions)
        windows = F.unfold(images, self.kernel, padding=self.kernel // 2)
        out = torch.bmm(windows.permute(2, 0, 1), self.weight)  # (positions, N, maps)
        return out.permute(1, 2, 0).unflatten(2, (self.side, self.side)) + self.bias
