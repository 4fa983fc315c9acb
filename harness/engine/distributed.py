"""The processes of one run. Started plainly there is one; started by torchrun they meet here, over gloo or nccl."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from harness.errors import UserError


@dataclass(frozen=True)
class Processes:
    """This process among those of the run: rank 0 to world - 1, and the device it computes on."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def first(self) -> bool:
        return self.rank == 0

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        if self.world_size > 1:
            dist.all_reduce(tensor)
        return tensor

    def broadcast(self, tensor: torch.Tensor) -> torch.Tensor:
        if self.world_size > 1:
            dist.broadcast(tensor, src=0)
        return tensor

    def stack(self, tensor: torch.Tensor) -> torch.Tensor:
        """(world, *shape): everybody's tensor, in order of rank, on every process."""
        if self.world_size == 1:
            return tensor[None]
        stacked = tensor.new_empty(self.world_size, *tensor.shape)
        dist.all_gather_single(stacked.flatten(), tensor.contiguous().flatten())
        return stacked

    def gather(self, value: Any) -> list[Any]:
        """Everybody's value, in order of rank, on every process."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def share(self, value: Any) -> Any:
        """Process 0's value on every process."""
        return self.gather(value)[0]


_groups = itertools.count()
ALONE = Processes(0, 1, torch.device("cpu"))


@contextmanager
def processes(device: torch.device) -> Iterator[Processes]:
    """The group that torchrun's RANK and WORLD_SIZE describe, or this process alone. Raises UserError for more processes than GPUs."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or dist.is_initialized():
        yield (
            Processes(dist.get_rank(), dist.get_world_size(), device)
            if dist.is_initialized()
            else Processes(0, 1, device)
        )
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if device.index >= (here := torch.cuda.device_count()):
            raise UserError(
                f"more processes than GPUs: there are {here} here; start at most {here}, or give --device cpu"
            )
        torch.cuda.set_device(device)
    # Keys of an earlier group of these processes stay in torchrun's store, and whoever comes first would take them for the new ones.
    store, rank, world = next(rendezvous("env://"))
    store = dist.PrefixStore(f"group {next(_groups)}", store)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo", store=store, rank=rank, world_size=world
    )
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), device)
        # Leave together: of processes that ended right after their last exchange over gloo one in some thirty aborted at its exit,
        # perhaps because a thread of gloo's still held that exchange's tensors.
        dist.barrier()
    finally:
        dist.destroy_process_group()
