"""Chunk sizes per device, and a map over chunks that gives each CPU thread whole chunks.

Threads per chunk replace torch's threads per operation: torch's threads synchronize after every
operation, which takes as long as the operation itself when the chunk fits a cache, and far longer
when another process occupies one of the cores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

T = TypeVar("T")
GPU_FACTOR = 64  # a GPU chunk has the size of this many CPU chunks


def chunk_size(cpu_size: int, device: torch.device) -> int:
    """Return the chunk size for a device, given the size that suits a CPU.

    On a CPU, intermediate results of a chunk should stay in its cache; a GPU needs larger chunks
    to be busy.
    """
    return cpu_size if device.type == "cpu" else GPU_FACTOR * cpu_size


def map_chunks(function: Callable[..., T], *chunks: Sequence[Any]) -> list[T]:
    """Return `[function(*arguments) for arguments in zip(*chunks)]`, threaded on a CPU.

    Parameters
    ----------
    function
        Called in as many threads as torch would use; within a call, torch uses one thread.
    *chunks : sequences of equal length
        One per argument. The elements of the first are tensors; if they are on a GPU, no threads
        are started.
    """
    threads = min(torch.get_num_threads(), len(chunks[0]))
    if threads < 2 or chunks[0][0].device.type != "cpu":
        return [function(*arguments) for arguments in zip(*chunks, strict=True)]
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(function, *chunks))
    finally:
        torch.set_num_threads(before)
