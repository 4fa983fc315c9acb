"""Layers of 2012 that the stock library lacks."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from pipelines.learned.noise import BatchNoise


class Dropout(nn.Module):
    """Dropout as in the paper: a unit is zeroed with probability p in training, without scaling; at test all are kept, times 1 - p.

    Krizhevsky et al. 2012, section 4.2, for p = 0.5. The stock layer divides by 1 - p in training instead.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, units: torch.Tensor, noise: BatchNoise | None) -> torch.Tensor:
        """`noise` given: training; None: test."""
        if self.p == 0:
            return units
        if noise is None:
            return units * (1 - self.p)
        return units * (noise.uniform(units.shape[1]) >= self.p)


class CeilConv2d(nn.Conv2d):
    """Convolution whose last window may reach past the far edge, where it sees zeros: ceil((size + 2 padding - kernel) / stride) + 1.

    The geometry of cuda-convnet: 224 pixels, 11x11 windows, stride 4, no padding give 55, as in the paper.
    """

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        kernel, stride, padding = self.kernel_size[0], self.stride[0], int(self.padding[0])
        height, width = ((-(size + 2 * padding - kernel)) % stride for size in images.shape[2:])
        return super().forward(F.pad(images, (0, width, 0, height)) if height or width else images)


class Local2d(nn.Module):
    """Like a convolution of stride 1 that keeps the size, but every position has weights and biases of its own: cuda-convnet's `local`.

    weight (positions, channels * kernel^2, maps), bias (maps, side, side).
    """

    def __init__(self, channels: int, maps: int, kernel: int, side: int) -> None:
        super().__init__()
        self.kernel, self.maps, self.side = kernel, maps, side
        self.weight = nn.Parameter(torch.empty(side * side, channels * kernel**2, maps))
        self.bias = nn.Parameter(torch.empty(maps, side, side))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        windows = F.unfold(
            images, self.kernel, padding=self.kernel // 2
        )  # (N, channels * kernel^2, positions)
        out = torch.bmm(windows.permute(2, 0, 1), self.weight)  # (positions, N, maps)
        return out.permute(1, 2, 0).unflatten(2, (self.side, self.side)) + self.bias
