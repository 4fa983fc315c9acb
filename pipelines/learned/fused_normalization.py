"""Local response normalization on a GPU: one Triton kernel forward, one backward.

torch's elementwise functions take ten passes over the memory of a GPU for the forward pass of
`pipelines.learned.normalization`, and as many for the other. Here every value is read with its
neighbors, which are in the cache, and written once.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

log = logging.getLogger(__name__)

TILE_VALUES = 1024  # values that a program of a kernel normalizes


@triton.jit
def _power(root: tl.tensor, beta: tl.constexpr) -> tl.tensor:
    """Return s^-beta, of s^-1/2."""
    return tl.exp(2 * beta * tl.log(root))


@triton.jit
def _tile(n_rows: tl.tensor, shape: tl.constexpr) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Return the offsets of this program's values, their channels, and which of them exist."""
    rows: tl.constexpr = shape[0]
    columns: tl.constexpr = shape[1]
    channels: tl.constexpr = shape[2]
    row = (tl.program_id(0) * rows + tl.arange(0, rows))[:, None].to(tl.int64)
    channel = tl.arange(0, columns)[None, :]
    return row * channels + channel, channel, (row < n_rows) & (channel < channels)


@triton.jit
def _forward_kernel(
    a: tl.tensor,
    b: tl.tensor,
    roots: tl.tensor,
    n_rows: tl.tensor,
    formula: tl.constexpr,
    shape: tl.constexpr,
) -> None:
    k: tl.constexpr = formula[0]
    half: tl.constexpr = formula[1] // 2
    alpha: tl.constexpr = formula[2]
    beta: tl.constexpr = formula[3]
    channels: tl.constexpr = shape[2]
    offsets, channel, is_value = _tile(n_rows, shape)
    sums = tl.zeros((shape[0], shape[1]), tl.float32)
    for d in tl.static_range(-half, half + 1):
        is_neighbor = is_value & (channel + d >= 0) & (channel + d < channels)
        neighbor = tl.load(a + offsets + d, mask=is_neighbor, other=0.0).to(tl.float32)
        sums += neighbor * neighbor
    root = tl.rsqrt(k + alpha * sums)
    value = tl.load(a + offsets, mask=is_value, other=0.0).to(tl.float32)
    tl.store(b + offsets, value * _power(root, beta), mask=is_value)
    tl.store(roots + offsets, root, mask=is_value)


@triton.jit
def _backward_kernel(
    a: tl.tensor,
    roots: tl.tensor,
    gradient: tl.tensor,
    result: tl.tensor,
    n_rows: tl.tensor,
    formula: tl.constexpr,
    shape: tl.constexpr,
) -> None:
    half: tl.constexpr = formula[1] // 2
    alpha: tl.constexpr = formula[2]
    beta: tl.constexpr = formula[3]
    channels: tl.constexpr = shape[2]
    offsets, channel, is_value = _tile(n_rows, shape)
    sums = tl.zeros((shape[0], shape[1]), tl.float32)
    for d in tl.static_range(-half, half + 1):
        is_neighbor = is_value & (channel + d >= 0) & (channel + d < channels)
        neighbor = tl.load(a + offsets + d, mask=is_neighbor, other=0.0).to(tl.float32)
        root = tl.load(roots + offsets + d, mask=is_neighbor, other=1.0).to(tl.float32)
        g = tl.load(gradient + offsets + d, mask=is_neighbor, other=0.0).to(tl.float32)
        sums += g * neighbor * _power(root, beta) * root * root
    value = tl.load(a + offsets, mask=is_value, other=0.0).to(tl.float32)
    root = tl.load(roots + offsets, mask=is_value, other=1.0).to(tl.float32)
    g = tl.load(gradient + offsets, mask=is_value, other=0.0).to(tl.float32)
    tl.store(
        result + offsets, g * _power(root, beta) - 2 * alpha * beta * value * sums, mask=is_value
    )


class FusedLocalResponse(torch.autograd.Function):
    """The function `_LocalResponse` of `pipelines.learned.normalization`, in two kernels."""

    @staticmethod
    def forward(
        ctx: Any, a: torch.Tensor, k: float, n: int, alpha: float, beta: float
    ) -> torch.Tensor:
        b, roots = torch.empty_like(a), torch.empty_like(a)
        ctx.formula, shape = (k, n, alpha, beta), _tile_shape(a)
        with _on_device(a):
            _forward_kernel[_grid(a, shape)](a, b, roots, len(a), ctx.formula, shape)
        ctx.save_for_backward(a, roots)
        return b

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        a, roots = ctx.saved_tensors
        result = torch.empty_like(a)
        gradient, shape = gradients[0].contiguous(), _tile_shape(a)
        with _on_device(a):
            _backward_kernel[_grid(a, shape)](
                a, roots, gradient, result, len(a), ctx.formula, shape
            )
        return result, None, None, None, None


@cache
def works_on(device: torch.device) -> bool:
    """Return whether the kernels can be compiled for a GPU and give what they should.

    Triton needs a C compiler and a GPU that it knows; without them this is False, with a warning.
    """
    try:
        with torch.inference_mode(False), torch.enable_grad():
            ones = torch.ones(3, 4, device=device, requires_grad=True)
            normed = FusedLocalResponse.apply(ones, 1.0, 3, 1.0, 0.5)
            (gradient,) = torch.autograd.grad(normed.sum(), ones)
        sums = torch.tensor([3.0, 4.0, 4.0, 3.0], device=device)
        neighbors = F.conv1d(sums.pow(-1.5)[None, None], sums.new_ones(1, 1, 3), padding=1)[0]
        return torch.allclose(normed, sums.rsqrt()) and torch.allclose(
            gradient, sums.rsqrt() - neighbors
        )
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        log.warning("local response normalization is not fused and slower: %s", reason)
        return False


def _tile_shape(rows: torch.Tensor) -> tuple[int, int, int]:
    """Return the rows and columns of a tile, powers of 2, and the number of channels."""
    channels = rows.shape[1]
    columns = triton.next_power_of_2(channels)
    return max(1, TILE_VALUES // columns), columns, channels


def _grid(rows: torch.Tensor, shape: tuple[int, int, int]) -> tuple[int]:
    return (triton.cdiv(len(rows), shape[0]),)


def _on_device(tensor: torch.Tensor) -> AbstractContextManager[object]:
    """Return the context in which kernels run where the tensor is."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
