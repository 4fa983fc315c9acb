"""Normalization layers: local response (across and within maps) and batch normalization."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from pipelines.learned.batch_noise import BatchNoise
from pipelines.learned.precision import at_least_float32

# Values that a CPU thread normalizes at a time: 1 MB per array, so that the two dozen passes over
# them stay in the processor's cache.
CACHED_VALUES = 1 << 18


class LocalResponseNorm(nn.Module):
    """Local response normalization across neighboring channels.

    b_i = a_i / (k + alpha * sum_{j = i-n/2}^{i+n/2} a_j^2)^beta with n odd (Krizhevsky et al. 2012,
    section 3.3). As in the paper, the sum is not divided by n; torch's layer and the author's code
    divide, so torch's `LocalResponseNorm(n, alpha=n * alpha)` is this one. The window ends at the
    edge of a column, as it does where each column has its own GPU.

    Input and output are (N, C, H, W), channels-last in memory. On a GPU fused kernels compute it
    (`fused_normalization`).
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
        # A view where the images are channels-last.
        rows = images.permute(0, 2, 3, 1).reshape(-1, channels // self.columns)
        normalize = _local_response(rows)
        normed: torch.Tensor = normalize.apply(rows, self.k, self.n, self.alpha, self.beta)
        return normed.view(n, height, width, channels).permute(0, 3, 1, 2)


class _LocalResponse(torch.autograd.Function):
    """Local response normalization of rows (pixels, channels).

    With s = k + alpha * window sums of a*a and p = s^-beta: b = a p, and since the window is
    symmetric, dL/da = g p - 2 alpha beta a * (window sums of g a p / s).

    Computed in float32 at least, block by block. The backward pass keeps the input and s^-1/2, both
    in the type of the input: for bfloat16 that changes a gradient by 0.3 %, its own last bit, and
    takes less time than computing s again.
    """

    @staticmethod
    def forward(
        ctx: Any, a: torch.Tensor, k: float, n: int, alpha: float, beta: float
    ) -> torch.Tensor:
        b, roots = torch.empty_like(a), torch.empty_like(a)
        work = _Workspace(a, n)
        for a_rows, b_rows, root_rows in _row_blocks(a, b, roots):
            values = work.widen(a_rows, work.values)
            root = work.root(values, k, alpha, out=work.out_for(root_rows, work.second))
            root_rows.copy_(root)
            out = work.out_for(b_rows, work.values)
            b_rows.copy_(torch.mul(work.power(root, beta), values, out=out))
        ctx.save_for_backward(a, roots)
        ctx.n, ctx.alpha, ctx.beta = n, alpha, beta
        return b

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        a, roots = ctx.saved_tensors
        result = torch.empty_like(a)
        work = _Workspace(a, ctx.n)
        gp_buffer = torch.empty_like(work.values)
        factor = -2 * ctx.alpha * ctx.beta
        for a_rows, root_rows, g_rows, result_rows in _row_blocks(a, roots, gradients[0], result):
            values, root = work.widen(a_rows, work.values), work.widen(root_rows, work.second)
            power = work.power(root, ctx.beta)
            gp = torch.mul(power, work.widen(g_rows, gp_buffer), out=gp_buffer[: len(a_rows)])
            gp_over_s = torch.square(root, out=power).mul_(gp)
            torch.mul(gp_over_s, values, out=work.unpadded(len(a_rows)))
            sums = work.window_sums(len(a_rows))
            out = work.out_for(result_rows, gp_buffer)
            result_rows.copy_(torch.addcmul(gp, values, sums, value=factor, out=out))
        return result, None, None, None, None


def _local_response(rows: torch.Tensor) -> type[torch.autograd.Function]:
    """Return the function for these rows: fused kernels on a GPU where they work."""
    if rows.is_cuda and rows.dtype != torch.float64 and len(rows):
        try:
            from pipelines.learned.fused_normalization import FusedLocalResponse, works_on
        except ImportError:  # no Triton for this system
            return _LocalResponse
        if works_on(rows.device):
            return FusedLocalResponse
    return _LocalResponse


class _Workspace:
    """Buffers in float32 at least for one block of rows, reused from block to block.

    Attributes
    ----------
    values : (block, channels)
        A block of the input.
    first, second : (block, channels)
        Scratch space, which overlaps with the partial sums of `window_sums`.
    """

    def __init__(self, rows: torch.Tensor, n: int) -> None:
        self.n, self.channels = n, rows.shape[1]
        length = min(len(rows), _block_length(rows))
        self._padded = at_least_float32(rows.new_zeros(length, self.channels + n - 1))
        self.values = self._padded.new_empty(length, self.channels)
        size = self._padded.numel()
        self._partial_sums = self._padded.new_empty(size), self._padded.new_empty(size)
        self.first, self.second = (
            flat[: self.values.numel()].view_as(self.values) for flat in self._partial_sums
        )

    @staticmethod
    def out_for(target: torch.Tensor, buffer: torch.Tensor) -> torch.Tensor:
        """Return where to compute what goes to `target`: there, or in a buffer of a wider type."""
        return target if target.dtype == buffer.dtype else buffer[: len(target)]

    @staticmethod
    def widen(rows: torch.Tensor, buffer: torch.Tensor) -> torch.Tensor:
        """Return the rows in the type of the buffer, copied there if they have another."""
        return rows if rows.dtype == buffer.dtype else buffer[: len(rows)].copy_(rows)

    def unpadded(self, rows: int) -> torch.Tensor:
        """Return the (rows, channels) that `window_sums` sums, to be written to."""
        return self._padded[:rows, self.n // 2 : self.n // 2 + self.channels]

    def window_sums(self, rows: int) -> torch.Tensor:
        """Return (rows, channels) sums over n neighboring channels, with zeros past both ends."""
        flat = _sliding_sums(self._padded[:rows].view(-1), self.n, *self._partial_sums)
        return flat.as_strided((rows, self.channels), (self._padded.shape[1], 1))

    def root(
        self, values: torch.Tensor, k: float, alpha: float, *, out: torch.Tensor
    ) -> torch.Tensor:
        """Return s^-1/2 with s = k + alpha * window sums of the squares of (rows, channels)."""
        torch.mul(values, values, out=self.unpadded(len(values)))
        sums = self.window_sums(len(values))
        return torch.add(values.new_full((), k), sums, alpha=alpha, out=out).rsqrt_()

    def power(self, root: torch.Tensor, beta: float) -> torch.Tensor:
        """Return s^-beta; for 0.75 two roots take a fraction of the time of a power."""
        out = self.first[: len(root)]
        if beta == 0.75:
            return torch.div(root, torch.rsqrt(root, out=out), out=out)
        return torch.pow(root, 2 * beta, out=out)


def _sliding_sums(
    values: torch.Tensor, n: int, out: torch.Tensor, scratch: torch.Tensor
) -> torch.Tensor:
    """Return (len(values) - n + 1,) sums of n neighbors, from sums of n // 2 of them."""
    if n == 1:
        return values
    half, length = _sliding_sums(values, n // 2, scratch, out), len(values) - n + 1
    total = torch.add(half[:length], half[n // 2 : n // 2 + length], out=out[:length])
    return total.add_(values[n - 1 :]) if n % 2 else total


def _row_blocks(*arrays: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    length = _block_length(arrays[0])
    return zip(*(array.split(length) for array in arrays), strict=True)


def _block_length(rows: torch.Tensor) -> int:
    """Return how many rows fit a CPU's cache; all of them on a GPU, which gains no speed."""
    if rows.device.type != "cpu":
        return max(1, len(rows))
    return max(1, torch.get_num_threads() * CACHED_VALUES // rows.shape[1])


class SameMapNorm(nn.Module):
    """Normalization across neighboring pixels of one map: the `rnorm` layer of cuda-convnet.

    b = a / (1 + scale / size^2 * sum over size x size pixels of a^2)^power; the sum is divided by
    size^2 at the edges too.
    """

    def __init__(self, *, size: int, scale: float, power: float = 0.75) -> None:
        super().__init__()
        self.size, self.scale, self.power = size, scale, power

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = at_least_float32(images)
        mean_square = F.avg_pool2d(images.square(), self.size, 1, self.size // 2)
        return images * (1 + self.scale * mean_square).pow(-self.power)


class BatchNorm(nn.Module):
    """Batch normalization of maps or units (Ioffe and Szegedy 2015).

    Statistics are the batch's in training and running averages at test time.
    """

    def __init__(self, features: int, *, epsilon: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.epsilon, self.momentum = epsilon, momentum
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.mean: torch.Tensor
        self.variance: torch.Tensor
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("variance", torch.ones(features))

    def forward(self, inputs: torch.Tensor, noise: BatchNoise | None) -> torch.Tensor:
        """Normalize: with `noise` as in training, with None as at test time."""
        return F.batch_norm(
            inputs,
            self.mean,
            self.variance,
            self.weight,
            self.bias,
            training=noise is not None,
            momentum=self.momentum,
            eps=self.epsilon,
        )
