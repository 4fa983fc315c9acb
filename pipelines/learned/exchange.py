"""What the processes that train one network tell each other, and how long that takes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch.autograd.function import once_differentiable

from harness.contract import Context
from pipelines.learned.precision import wide

T = TypeVar("T")


class Exchange:
    """The context's sum and gather, timed; and the steps between the layers of a network cut over processes, with their gradients.

    Putting parts together and taking a part of a sum are each other's way back: a part's gradient is its stretch of the sum of
    the gradients that all processes have of the whole.
    """

    def __init__(self, context: Context) -> None:
        self.rank, self.world_size = context.rank, context.world_size
        self.clock = Clock(context.device)
        self._context = context

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Over all processes, in place."""
        if self.world_size == 1:
            return tensor
        with self.clock.running():
            return self._context.sum(tensor)

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """(world, *shape)."""
        with self.clock.running():
            return self._context.gather(tensor.contiguous())

    def units(self, part: torch.Tensor) -> torch.Tensor:
        """(N, units / world, ...), a stretch of everybody's units or maps -> (N, units, ...)."""
        whole: torch.Tensor = _Whole.apply(part, self, _Units())
        return whole

    def images(self, part: torch.Tensor, n: int) -> torch.Tensor:
        """(rows of this process's images, ...) -> (n, ...): rank, rank + world, ... are its places among the n."""
        whole: torch.Tensor = _Whole.apply(part, self, _Images(n))
        return whole

    def own_images(self, terms: torch.Tensor, n: int) -> torch.Tensor:
        """(n, ...), terms of a sum over processes -> the rows of that sum that are this process's images."""
        own: torch.Tensor = _Own.apply(terms, self, _Images(n))
        return own


class _Units:
    """A process's part of a tensor is a stretch of its second dimension."""

    def whole(self, part: torch.Tensor, exchange: Exchange) -> torch.Tensor:
        whole = torch.cat(list(exchange.gather(part)), dim=1)
        return whole.contiguous(memory_format=torch.channels_last) if whole.ndim == 4 else whole

    def own(self, whole: torch.Tensor, exchange: Exchange) -> torch.Tensor:
        return whole.chunk(exchange.world_size, dim=1)[exchange.rank]


class _Images:
    """A process's part of a tensor of n images is rows rank, rank + world, ...; some have one row less than others."""

    def __init__(self, n: int) -> None:
        self.n = n

    def whole(self, part: torch.Tensor, exchange: Exchange) -> torch.Tensor:
        rows = -(-self.n // exchange.world_size)
        if len(part) < rows:
            part = torch.cat([part, part.new_zeros(rows - len(part), *part.shape[1:])])
        return exchange.gather(part).transpose(0, 1).flatten(0, 1)[: self.n]

    def own(self, whole: torch.Tensor, exchange: Exchange) -> torch.Tensor:
        return whole[exchange.rank :: exchange.world_size]


class _Whole(torch.autograd.Function):
    """From everybody's parts to the whole, on every process."""

    @staticmethod
    def forward(
        ctx: Any, part: torch.Tensor, exchange: Exchange, cut: _Units | _Images
    ) -> torch.Tensor:
        ctx.exchange, ctx.cut = exchange, cut
        return cut.whole(part, exchange)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return _own_of_sum(gradients[0], ctx.exchange, ctx.cut), None, None


class _Own(torch.autograd.Function):
    """From everybody's terms to this process's part of their sum."""

    @staticmethod
    def forward(ctx: Any, terms: torch.Tensor, exchange: Exchange, cut: _Images) -> torch.Tensor:
        ctx.exchange, ctx.cut = exchange, cut
        return _own_of_sum(terms, exchange, cut)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return ctx.cut.whole(gradients[0], ctx.exchange), None, None


def _own_of_sum(terms: torch.Tensor, exchange: Exchange, cut: _Units | _Images) -> torch.Tensor:
    """Summed in float32 at least."""
    total = exchange.sum(wide(terms).clone(memory_format=torch.contiguous_format))
    return cut.own(total, exchange).to(terms.dtype)


class Clock:
    """Seconds spent in stretches of work. On a GPU they are read from its own events, once, so that the host waits for nothing in between."""

    def __init__(self, device: torch.device) -> None:
        self._gpu = device.type == "cuda"
        self._seconds = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        if self._gpu:
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            yield
            end.record()
            self._events.append((begin, end))
        else:
            started = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - started

    def items(self, items: Iterable[T]) -> Iterator[T]:
        """The items; the time until each is there counts, on the host's clock."""
        iterator, nothing = iter(items), object()
        while True:
            started = time.perf_counter()
            item = next(iterator, nothing)
            self._seconds += time.perf_counter() - started
            if item is nothing:
                return
            yield item  # type: ignore[misc]

    def take(self) -> float:
        """Seconds since this was last asked. Waits until a GPU has done what was timed."""
        if self._events:
            self._events[-1][1].synchronize()
        seconds = self._seconds + sum(begin.elapsed_time(end) for begin, end in self._events) / 1000
        self._seconds, self._events = 0.0, []
        return seconds
