"""Collective operations of the processes that train one network, with gradients and timing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch.autograd.function import once_differentiable

from harness.contract import Context
from pipelines.learned.device_clock import DeviceClock
from pipelines.learned.precision import at_least_float32


class Collectives:
    """The context's sum and gather, timed, and differentiable steps between sharded layers.

    All-gather and reduce-scatter are each other's backward pass: the gradient of a shard is its
    slice of the sum of the gradients that all processes have of the full tensor.

    Attributes
    ----------
    rank, world_size : int
    clock : DeviceClock
        Time spent exchanging, waiting for other processes included.
    """

    def __init__(self, context: Context) -> None:
        self.rank, self.world_size = context.rank, context.world_size
        self.clock = DeviceClock(context.device)
        self._context = context

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum over all processes, in place."""
        if self.world_size == 1:
            return tensor
        with self.clock.running():
            return self._context.sum(tensor)

    def start_sum(self, tensor: torch.Tensor) -> Callable[[], object]:
        """Start the sum over all processes, in place; the function returned waits for its end."""
        if dist.is_initialized():
            return dist.all_reduce(tensor, async_op=True).wait
        self.sum(tensor)
        return lambda: None

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return (world_size, *shape): the tensors of all processes, in order of rank."""
        with self.clock.running():
            return self._context.gather(tensor.contiguous())

    def gather_units(self, shard: torch.Tensor) -> torch.Tensor:
        """Gather (N, units / world_size, ...), each process's units or maps, to (N, units, ...)."""
        gathered: torch.Tensor = _AllGather.apply(shard, self, _UnitShards())
        return gathered

    def gather_images(self, shard: torch.Tensor, n: int) -> torch.Tensor:
        """Gather images to (n, ...); process r holds images r, r + world_size, ..."""
        gathered: torch.Tensor = _AllGather.apply(shard, self, _ImageShards(n))
        return gathered

    def reduce_scatter_images(self, terms: torch.Tensor, n: int) -> torch.Tensor:
        """Sum (n, ...) terms over processes and return the rows of this process's images."""
        rows: torch.Tensor = _ReduceScatter.apply(terms, self, _ImageShards(n))
        return rows


class _Sharding(Protocol):
    """How the processes' shards form the full tensor."""

    def unshard(self, shard: torch.Tensor, collectives: Collectives) -> torch.Tensor: ...

    def shard(self, full: torch.Tensor, collectives: Collectives) -> torch.Tensor: ...


class _UnitShards:
    """Each process holds a slice of the second dimension."""

    def unshard(self, shard: torch.Tensor, collectives: Collectives) -> torch.Tensor:
        full = torch.cat(list(collectives.gather(shard)), dim=1)
        return full.contiguous(memory_format=torch.channels_last) if full.ndim == 4 else full

    def shard(self, full: torch.Tensor, collectives: Collectives) -> torch.Tensor:
        return full.chunk(collectives.world_size, dim=1)[collectives.rank]


class _ImageShards:
    """Process r holds rows r, r + world_size, ... of n; some processes have one row less."""

    def __init__(self, n: int) -> None:
        self.n = n

    def unshard(self, shard: torch.Tensor, collectives: Collectives) -> torch.Tensor:
        rows = -(-self.n // collectives.world_size)
        if len(shard) < rows:  # shards must have one shape to be gathered
            shard = torch.cat([shard, shard.new_zeros(rows - len(shard), *shard.shape[1:])])
        return collectives.gather(shard).transpose(0, 1).flatten(0, 1)[: self.n]

    def shard(self, full: torch.Tensor, collectives: Collectives) -> torch.Tensor:
        return full[collectives.rank :: collectives.world_size]


class _AllGather(torch.autograd.Function):
    """From the processes' shards to the full tensor, on every process."""

    @staticmethod
    def forward(
        ctx: Any, shard: torch.Tensor, collectives: Collectives, sharding: _Sharding
    ) -> torch.Tensor:
        ctx.collectives, ctx.sharding = collectives, sharding
        return sharding.unshard(shard, collectives)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return _reduce_scatter(gradients[0], ctx.collectives, ctx.sharding), None, None


class _ReduceScatter(torch.autograd.Function):
    """From the processes' terms to this process's shard of their sum."""

    @staticmethod
    def forward(
        ctx: Any, terms: torch.Tensor, collectives: Collectives, sharding: _Sharding
    ) -> torch.Tensor:
        ctx.collectives, ctx.sharding = collectives, sharding
        return _reduce_scatter(terms, collectives, sharding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return ctx.sharding.unshard(gradients[0], ctx.collectives), None, None


def _reduce_scatter(
    terms: torch.Tensor, collectives: Collectives, sharding: _Sharding
) -> torch.Tensor:
    copy = at_least_float32(terms).clone(memory_format=torch.contiguous_format)
    return sharding.shard(collectives.sum(copy), collectives).to(terms.dtype)
