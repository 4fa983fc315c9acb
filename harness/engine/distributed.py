"""The processes of one run: one when started plainly, several over gloo or nccl under torchrun."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from harness.engine.rendezvous import meet, read_launch, read_local_rank
from harness.errors import UserError


@dataclass(frozen=True)
class Processes:
    """This process among those of the run.

    Parameters
    ----------
    rank : int
        0 to world_size - 1.
    world_size : int
        Number of processes.
    device : torch.device
        The device that this process computes on.
    """

    rank: int
    world_size: int
    device: torch.device

    @property
    def first(self) -> bool:
        return self.rank == 0

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum the tensor over all processes, in place."""
        if self.world_size > 1:
            dist.all_reduce(tensor)
        return tensor

    def broadcast(self, tensor: torch.Tensor) -> torch.Tensor:
        """Copy the values of process 0 to every process, in place."""
        if self.world_size > 1:
            dist.broadcast(tensor, src=0)
        return tensor

    def stack(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return (world_size, *shape): the tensors of all processes in order of rank."""
        if self.world_size == 1:
            return tensor[None]
        stacked = tensor.new_empty(self.world_size, *tensor.shape)
        dist.all_gather_single(stacked.flatten(), tensor.contiguous().flatten())
        return stacked

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes in order of rank."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def share(self, value: Any) -> Any:
        """Return the value of process 0 on every process."""
        return self.gather(value)[0]


SINGLE_PROCESS = Processes(0, 1, torch.device("cpu"))
_group_numbers = itertools.count()


@contextmanager
def join_processes(device: torch.device) -> Iterator[Processes]:
    """Join the group that torchrun's RANK and WORLD_SIZE describe; without them, run alone.

    Raises
    ------
    UserError
        If there are more processes than GPUs, or the variables make no sense.
    """
    if dist.is_initialized():
        yield Processes(dist.get_rank(), dist.get_world_size(), device)
        return
    launch = read_launch()
    if launch is None:
        yield Processes(0, 1, device)
        return
    if device.type == "cuda":
        device = _own_gpu()
    store = meet(launch, next(_group_numbers))
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=launch.rank, world_size=launch.world_size)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), device)
        # Leave together: of processes that ended right after their last exchange over gloo, one in
        # about thirty aborted at exit, perhaps because one of gloo's threads still held tensors.
        dist.barrier()
    finally:
        dist.destroy_process_group()


def is_first_process() -> bool:
    """Return whether this process prints, also where no group has been joined."""
    if dist.is_initialized():
        return dist.get_rank() == 0
    launch = read_launch()
    return launch is None or launch.rank == 0


def _own_gpu() -> torch.device:
    device = torch.device("cuda", read_local_rank())
    available = torch.cuda.device_count()
    if device.index >= available:
        raise UserError(
            f"more processes than GPUs: this machine has {available}; "
            f"start at most {available}, or give --device cpu"
        )
    torch.cuda.set_device(device)
    return device
