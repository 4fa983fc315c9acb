"""Local response normalisation across and within feature maps, and batch normalisation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from pipelines.learned.noise import BatchNoise
from pipelines.learned.precision import wide

# Values normalised at a time on a CPU: half a megabyte an array, so that the dozen passes over them stay in the processor's cache.
CACHED_VALUES = 1 << 17


class LocalResponseNorm(nn.Module):
    """Normalisation across neighbouring channels: b_i = a_i / (k + alpha * sum_{j = i-n/2}^{i+n/2} a_j^2)^beta, n odd.

    (N, C, H, W) -> (N, C, H, W), channels-last in memory. As the paper writes it, the sum is NOT divided by n; torch's layer
    and the author's code divide, so torch's `LocalResponseNorm(n, alpha=n * alpha)` is this one. The window ends at the edge of a
    column, as it does where each column has a GPU of its own. Krizhevsky et al. 2012, section 3.3.
    """

    def __init__(self, *, k: float = 2.0, n: int = 5, alpha: float = 1e-4, beta: float = 0.75, columns: int = 1) -> None:
        super().__init__()
        self.k, self.n, self.alpha, self.beta, self.columns = k, n, alpha, beta, columns

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        n, channels, height, width = images.shape
        rows = wide(images).permute(0, 2, 3, 1).reshape(-1, channels // self.columns)  # a view where the images are channels-last
        normed: torch.Tensor = _LocalResponse.apply(rows, self.k, self.n, self.alpha, self.beta)
        return normed.view(n, height, width, channels).permute(0, 3, 1, 2)


class _LocalResponse(torch.autograd.Function):
    """On rows (pixels, channels). With s = k + alpha * window sums of a*a, and p = s^-beta:

    b = a p,  and  dL/da = g p - 2 alpha beta a * (window sums of g a p / s), since the window is symmetric.
    What stays in memory for the way back is the input and s^-1/2, from which a few cheap passes make the rest again.
    """

    @staticmethod
    def forward(ctx: Any, a: torch.Tensor, k: float, n: int, alpha: float, beta: float) -> torch.Tensor:
        b, root = torch.empty_like(a), torch.empty_like(a)
        constant = a.new_full((), k)
        window = _Window(a, n)
        for a_part, b_part, root_part in _cached(a, b, root):
            torch.mul(a_part, a_part, out=window.inside(len(a_part)))
            torch.add(constant, window.sums(len(a_part)), alpha=alpha, out=root_part).rsqrt_()
            _power(root_part, beta, out=b_part).mul_(a_part)
        ctx.save_for_backward(a, root)
        ctx.n, ctx.alpha, ctx.beta = n, alpha, beta
        return b

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        a, root = ctx.saved_tensors
        out = torch.empty_like(a)
        window = _Window(a, ctx.n)
        for a_part, root_part, g_part, out_part in _cached(a, root, gradients[0], out):
            gp = _power(root_part, ctx.beta, out=torch.empty_like(a_part)).mul_(g_part)
            torch.mul(gp, root_part, out=out_part).mul_(root_part)
            torch.mul(out_part, a_part, out=window.inside(len(a_part)))
            torch.addcmul(gp, a_part, window.sums(len(a_part)), value=-2 * ctx.alpha * ctx.beta, out=out_part)
        return out, None, None, None, None


def _power(root: torch.Tensor, beta: float, *, out: torch.Tensor) -> torch.Tensor:
    """s^-beta from s^-1/2, into `out`."""
    if beta == 0.75:  # a square root takes a fraction of the time of a power
        return torch.sqrt(root, out=out).mul_(root)
    return torch.pow(root, 2 * beta, out=out)


class _Window:
    """Sums over n neighbouring channels of a block of rows, with zeros past both ends.

    The rows lie end to end in one array, n - 1 zeros apart, so that a sum along the array sees no other row.
    """

    def __init__(self, rows: torch.Tensor, n: int) -> None:
        self.n, self.channels = n, rows.shape[1]
        self.padded = rows.new_zeros(min(len(rows), _block(rows)), self.channels + n - 1)

    def inside(self, rows: int) -> torch.Tensor:
        """(rows, channels): where the values go."""
        return self.padded[:rows, self.n // 2 : self.n // 2 + self.channels]

    def sums(self, rows: int) -> torch.Tensor:
        """(rows, channels)."""
        along = _sliding_sums(self.padded[:rows].view(-1), self.n)
        return along.as_strided((rows, self.channels), (self.padded.shape[1], 1))


def _sliding_sums(values: torch.Tensor, n: int) -> torch.Tensor:
    """(len(values) - n + 1,): sums of n neighbours, from sums of n // 2 of them."""
    if n == 1:
        return values
    half, length = _sliding_sums(values, n // 2), len(values) - n + 1
    total = half[:length] + half[n // 2 : n // 2 + length]
    return total.add_(values[n - 1 :]) if n % 2 else total


def _cached(*arrays: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """The arrays cut alike into blocks of rows."""
    return zip(*(array.split(_block(arrays[0])) for array in arrays), strict=True)


def _block(rows: torch.Tensor) -> int:
    """Rows that a CPU's cache holds; all of them on a device, which gains nothing from blocks."""
    return max(1, CACHED_VALUES // rows.shape[1]) if rows.device.type == "cpu" else max(1, len(rows))


class SameMapNorm(nn.Module):
    """Normalisation across neighbouring pixels of one map: b = a / (1 + scale / size^2 * sum over size x size pixels of a^2)^power.

    The `rnorm` layer of cuda-convnet, which divides by size^2 at the edges too.
    """

    def __init__(self, *, size: int, scale: float, power: float = 0.75) -> None:
        super().__init__()
        self.size, self.scale, self.power = size, scale, power

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = wide(images)
        mean_square = F.avg_pool2d(images.square(), self.size, 1, self.size // 2)
        return images * (1 + self.scale * mean_square).pow(-self.power)


class BatchNorm(nn.Module):
    """Batch normalisation of maps or units (Ioffe and Szegedy 2015): by the batch in training, by running means at test."""

    def __init__(self, features: int, *, epsilon: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.epsilon, self.momentum = epsilon, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.mean: torch.Tensor
        self.variance: torch.Tensor
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("variance", torch.ones(features))

    def forward(self, inputs: torch.Tensor, noise: BatchNoise | None) -> torch.Tensor:
        """`noise` given: training; None: test."""
        training = noise is not None
        return F.batch_norm(inputs, self.mean, self.variance, self.weight, self.bias, training, self.momentum, self.epsilon)
