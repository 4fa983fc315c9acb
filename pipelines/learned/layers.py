"""Layers of 2012 that the stock library lacks, or has too slow."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from pipelines.learned.noise import BatchNoise

# Rows of (pixels, channels) normalised at a time: a few megabytes, so that the passes over them stay in the processor's cache.
CACHED_VALUES = 1 << 19


class LocalResponseNorm(nn.Module):
    """Normalisation across neighbouring channels: b_i = a_i / (k + alpha * sum_{j = i-n/2}^{i+n/2} a_j^2)^beta.

    (N, C, H, W) -> (N, C, H, W), channels-last in memory. As the paper writes it, the sum is NOT divided by n; torch's layer
    and the author's code divide, so torch's `LocalResponseNorm(n, alpha=n * alpha)` is this one. Krizhevsky et al. 2012, section 3.3.
    """

    def __init__(self, channels: int, *, k: float = 2.0, n: int = 5, alpha: float = 1e-4, beta: float = 0.75) -> None:
        super().__init__()
        self.k, self.alpha, self.beta = k, alpha, beta
        channel = torch.arange(channels)
        window = (channel[:, None] - channel[None, :]).abs() <= n // 2
        self.window: torch.Tensor
        self.register_buffer("window", alpha * window.float(), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return _LocalResponse.apply(images, self.window, self.k, self.beta)


class _LocalResponse(torch.autograd.Function):
    """With s = k + (a*a) W, W the banded window times alpha, and p = s^-beta:

    b = a p,  and  dL/da = g p - 2 beta a ((g b / s) W), since W is symmetric. One matrix product each way.
    """

    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, window: torch.Tensor, k: float, beta: float) -> torch.Tensor:
        a = _pixel_rows(images)
        b, p, b_over_s = torch.empty_like(a), torch.empty_like(a), torch.empty_like(a)
        constant = a.new_full((), k)
        for a_part, b_part, p_part, ratio in _cached(a, b, p, b_over_s):
            s = torch.addmm(constant, torch.mul(a_part, a_part, out=b_part), window)
            if beta == 0.75:  # two square roots take a fifth of the time of a power
                root = s.rsqrt()
                torch.sqrt(root, out=p_part).mul_(root)
            else:
                torch.pow(s, -beta, out=p_part)
            torch.mul(a_part, p_part, out=b_part)
            torch.div(b_part, s, out=ratio)
        ctx.save_for_backward(a, p, b_over_s, window)
        ctx.beta = beta
        return _images(b, images)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        a, p, b_over_s, window = ctx.saved_tensors
        g = _pixel_rows(gradients[0])
        out = torch.empty_like(a)
        for a_part, p_part, ratio, g_part, out_part in _cached(a, p, b_over_s, g, out):
            spread = torch.mm(torch.mul(ratio, g_part, out=out_part), window)
            torch.mul(p_part, g_part, out=out_part).addcmul_(a_part, spread, value=-2 * ctx.beta)
        return _images(out, gradients[0]), None, None, None


def _pixel_rows(images: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) -> (N*H*W, C); a view where the images are channels-last."""
    return images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])


def _images(rows: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    n, channels, height, width = like.shape
    return rows.view(n, height, width, channels).permute(0, 3, 1, 2)


def _cached(*arrays: torch.Tensor) -> Any:
    """The arrays cut alike into blocks of rows; in one piece on a device, which gains nothing from it."""
    rows = max(1, CACHED_VALUES // arrays[0].shape[1]) if arrays[0].device.type == "cpu" else len(arrays[0])
    return zip(*(array.split(rows) for array in arrays), strict=True)


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
