"""The sum of the gradient over processes, exchanged while the backward pass goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from pipelines.learned.collectives import Collectives
from pipelines.learned.networks.network import Network
from pipelines.learned.optimizers import Optimizer

BUCKET_VALUES = 25 << 18  # 25 MB of float32, as in torch's DistributedDataParallel


@dataclass
class _Bucket:
    """A stretch of the gradient that is exchanged at once."""

    begin: int
    end: int
    parameters: list[torch.nn.Parameter] = field(default_factory=list)
    missing: int = 0  # parameters whose gradient is not yet known in this backward pass


class GradientSum:
    """Sums an optimizer's `all_reduce_buffer` over processes, bucket by bucket.

    A bucket is exchanged as soon as the backward pass has computed the gradients in it; the last
    layers come first. In which order the buckets are exchanged depends on the network alone, so
    that all processes agree.

    Parameters
    ----------
    network : Network
    optimizer : Optimizer
        Of the network.
    collectives : Collectives
    in_bfloat16 : bool
        Exchange gradients with 8 significant bits, half as many bytes. Biases, and the extras of
        the buffer, which may be counts, stay as they are.
    overlaps : bool
        Whether to exchange during the backward pass; otherwise all of it happens in `finish`. It
        must not where the backward pass exchanges too.
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        collectives: Collectives,
        *,
        in_bfloat16: bool = False,
        overlaps: bool = True,
    ) -> None:
        self.buffer, self.collectives = optimizer.all_reduce_buffer, collectives
        self.in_bfloat16 = in_bfloat16
        self.buckets = _make_buckets(network, optimizer)
        self._waits: list[Callable[[], object]]
        self._prepare()
        if overlaps and collectives.world_size > 1:
            for bucket in self.buckets:
                for parameter in bucket.parameters:
                    parameter.register_post_accumulate_grad_hook(self._hook(bucket))

    def finish(self) -> None:
        """Exchange what is left after the backward pass, and wait for all of it."""
        if self.collectives.world_size == 1:
            return
        self._start(everything=True)
        with self.collectives.clock.running():
            for wait in self._waits:
                wait()
        self._prepare()

    def _prepare(self) -> None:
        self._next, self._waits = 0, []
        for bucket in self.buckets:
            bucket.missing = len(bucket.parameters)

    def _hook(self, bucket: _Bucket) -> Callable[[torch.Tensor], None]:
        def note_gradient(_: torch.Tensor) -> None:
            bucket.missing -= 1
            self._start()

        return note_gradient

    def _start(self, *, everything: bool = False) -> None:
        """Start the exchange of the next buckets that are complete, in order."""
        while self._next < len(self.buckets):
            bucket = self.buckets[self._next]
            if bucket.missing and not everything:
                return
            self._waits.append(self._start_bucket(bucket))
            self._next += 1

    def _start_bucket(self, bucket: _Bucket) -> Callable[[], object]:
        values = self.buffer[bucket.begin : bucket.end]
        is_last = bucket.end == len(self.buffer)  # with the biases and the extras
        if not self.in_bfloat16 or is_last:
            return self.collectives.start_sum(values)
        rounded = values.bfloat16()
        wait = self.collectives.start_sum(rounded)

        def wait_and_widen() -> None:
            wait()
            values.copy_(rounded)

        return wait_and_widen


def _make_buckets(network: Network, optimizer: Optimizer) -> list[_Bucket]:
    """Divide the replicated parameters into buckets, in the order of the backward pass.

    A bucket is complete when the first of its layers is, so the one whose first layer is the latest
    comes first.
    """
    position = {parameter: i for i, parameter in enumerate(network.parameters())}
    buckets: list[_Bucket] = []
    begin = 0
    for group in optimizer.groups:
        bucket = None
        for parameter in () if group.is_sharded else group.parameters:
            if bucket is None or begin - bucket.begin + parameter.numel() > BUCKET_VALUES:
                bucket = _Bucket(begin, begin)
                buckets.append(bucket)
            begin += parameter.numel()
            bucket.end = begin
            bucket.parameters.append(parameter)
    buckets[-1].end = len(optimizer.all_reduce_buffer)
    return sorted(buckets, key=lambda b: -min(position[parameter] for parameter in b.parameters))
