"""Local response normalization across and within feature maps, and batch normalization."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from pipelines.learned.noise import BatchNoise
from pipelines.learned.precision import wide

# Values that a thread normalizes at a time on a CPU: a megabyte an array, so that the two dozen passes over them stay near the processor.
CACHED_VALUES = 1 << 18


class LocalResponseNorm(nn.Module):
    """Normalization across neighboring channels: b_i = a_i / (k + alpha * sum_{j = i-n/2}^{i+n/2} a_j^2)^beta, n odd.

    (N, C, H, W) -> (N, C, H, W), channels-last in memory. As the paper writes it, the sum is NOT divided by n; torch's layer
    and the author's code divide, so torch's `LocalResponseNorm(n, alpha=n * alpha)` is this one. The window ends at the edge of a
    column, as it does where each column has a GPU of its own. Krizhevsky et al. 2012, section 3.3.
    """

    def __init__(
        self,
        *,
        k: float = 2.0,
        n: int = 5,
        alpha: float = 1e-4,
        beta: float = 0.75,
        columns: int = 1,
    ) -> None:
        super().__init__()
        self.k, self.n, self.alpha, self.beta, self.columns = k, n, alpha, beta, columns

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        n, channels, height, width = images.shape
        rows = images.permute(0, 2, 3, 1).reshape(
            -1, channels // self.columns
        )  # a view where the images are channels-last
        normed: torch.Tensor = _LocalResponse.apply(rows, self.k, self.n, self.alpha, self.beta)
        return normed.view(n, height, width, channels).permute(0, 3, 1, 2)


class _LocalResponse(torch.autograd.Function):
    """On rows (pixels, channels). With s = k + alpha * window sums of a*a, and p = s^-beta:

    b = a p,  and  dL/da = g p - 2 alpha beta a * (window sums of g a p / s), since the window is symmetric.
    Reckoned in float32 at least, block by block, whatever the input is of. What stays in memory for the way back is the input and s^-1/2,
    which is of the input's type too: in bfloat16 that moves a gradient by 0.3 %, its own last bit, and takes less time than s anew.
    """

    @staticmethod
    def forward(
        ctx: Any, a: torch.Tensor, k: float, n: int, alpha: float, beta: float
    ) -> torch.Tensor:
        b, roots = torch.empty_like(a), torch.empty_like(a)
        block = _Block(a, n)
        for a_part, b_part, root_part in _cached(a, b, roots):
            values = block.wide(a_part, block.values)
            root = block.root(values, k, alpha, out=block.room(root_part, block.second))
            root_part.copy_(root)
            b_part.copy_(
                torch.mul(block.power(root, beta), values, out=block.room(b_part, block.values))
            )
        ctx.save_for_backward(a, roots)
        ctx.n, ctx.alpha, ctx.beta = n, alpha, beta
        return b

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        a, roots = ctx.saved_tensors
        out = torch.empty_like(a)
        block = _Block(a, ctx.n)
        gp = torch.empty_like(block.values)
        for a_part, root_part, g_part, out_part in _cached(a, roots, gradients[0], out):
            values, root = block.wide(a_part, block.values), block.wide(root_part, block.second)
            power = block.power(root, ctx.beta)
            gp_part = torch.mul(power, block.wide(g_part, gp), out=gp[: len(a_part)])
            torch.mul(
                torch.square(root, out=power).mul_(gp_part), values, out=block.inside(len(a_part))
            )
            sums = block.sums(len(a_part))
            out_part.copy_(
                torch.addcmul(
                    gp_part,
                    values,
                    sums,
                    value=-2 * ctx.alpha * ctx.beta,
                    out=block.room(out_part, gp),
                )
            )
        return out, None, None, None, None


class _Block:
    """The arrays that one block of rows after the other is reckoned in, few, so that a CPU's cache holds them.

    padded         (rows, channels + n - 1): what is summed, the rows n - 1 zeros apart, so that a sum along the array sees no other row
    values         (rows, channels): the input, widened
    first, second  (rows, channels): sums end in the first, roots in the second; each step overwrites what an earlier one is done with
    """

    def __init__(self, rows: torch.Tensor, n: int) -> None:
        self.n, self.channels = n, rows.shape[1]
        length = min(len(rows), _block(rows))
        self.padded = wide(rows.new_zeros(length, self.channels + n - 1))
        self.values = self.padded.new_empty(length, self.channels)
        self.flat = (
            self.padded.new_empty(self.padded.numel()),
            self.padded.new_empty(self.padded.numel()),
        )
        self.first, self.second = (
            flat[: self.values.numel()].view_as(self.values) for flat in self.flat
        )

    @staticmethod
    def room(part: torch.Tensor, spare: torch.Tensor) -> torch.Tensor:
        """Where to reckon what goes to `part`: there, where its type is wide enough."""
        return part if part.dtype == spare.dtype else spare[: len(part)]

    @staticmethod
    def wide(part: torch.Tensor, spare: torch.Tensor) -> torch.Tensor:
        return part if part.dtype == spare.dtype else spare[: len(part)].copy_(part)

    def inside(self, rows: int) -> torch.Tensor:
        """(rows, channels): where what is summed goes."""
        return self.padded[:rows, self.n // 2 : self.n // 2 + self.channels]

    def sums(self, rows: int) -> torch.Tensor:
        """(rows, channels) sums over n neighboring channels, with zeros past both ends."""
        along = _sliding_sums(self.padded[:rows].view(-1), self.n, *self.flat)
        return along.as_strided((rows, self.channels), (self.padded.shape[1], 1))

    def root(
        self, values: torch.Tensor, k: float, alpha: float, *, out: torch.Tensor
    ) -> torch.Tensor:
        """s^-1/2, s = k + alpha * window sums of the squares of values (rows, channels)."""
        torch.mul(values, values, out=self.inside(len(values)))
        return torch.add(
            values.new_full((), k), self.sums(len(values)), alpha=alpha, out=out
        ).rsqrt_()

    def power(self, root: torch.Tensor, beta: float) -> torch.Tensor:
        """s^-beta; two roots take a fraction of the time of a power."""
        out = self.first[: len(root)]
        return (
            torch.div(root, torch.rsqrt(root, out=out), out=out)
            if beta == 0.75
            else torch.pow(root, 2 * beta, out=out)
        )


def _sliding_sums(
    values: torch.Tensor, n: int, into: torch.Tensor, spare: torch.Tensor
) -> torch.Tensor:
    """(len(values) - n + 1,): sums of n neighbors, from sums of n // 2 of them, which lie in `spare`."""
    if n == 1:
        return values
    half, length = _sliding_sums(values, n // 2, spare, into), len(values) - n + 1
    total = torch.add(half[:length], half[n // 2 : n // 2 + length], out=into[:length])
    return total.add_(values[n - 1 :]) if n % 2 else total


def _cached(*arrays: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """The arrays cut alike into blocks of rows."""
    return zip(*(array.split(_block(arrays[0])) for array in arrays), strict=True)


def _block(rows: torch.Tensor) -> int:
    """Rows that a CPU's cache holds; all of them on a device, which gains nothing from blocks."""
    return (
        max(1, torch.get_num_threads() * CACHED_VALUES // rows.shape[1])
        if rows.device.type == "cpu"
        else max(1, len(rows))
    )


class SameMapNorm(nn.Module):
    """Normalization across neighboring pixels of one map: b = a / (1 + scale / size^2 * sum over size x size pixels of a^2)^power.

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
    """Batch normalization of maps or units (Ioffe and Szegedy 2015): by the batch in training, by running means at test."""

    def __init__(self, features: int, *, epsilon: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.epsilon, self.momentum = epsilon, momentum
        self.weight, self.bias = (
            nn.Parameter(torch.ones(features)),
            nn.Parameter(torch.zeros(features)),
        )
        self.mean: torch.Tensor
        self.variance: torch.Tensor
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("variance", torch.ones(features))

    def forward(self, inputs: torch.Tensor, noise: BatchNoise | None) -> torch.Tensor:
        """`noise` given: training; None: test."""
        training = noise is not None
        return F.batch_norm(
            inputs,
            self.mean,
            self.variance,
            self.weight,
            self.bias,
            training,
            self.momentum,
            self.epsilon,
        )
