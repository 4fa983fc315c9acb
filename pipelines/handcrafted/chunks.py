"""Work in chunks: how much of it at a time, and on a CPU shared out among threads chunk by chunk, not operation by operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

T = TypeVar("T")
GPU_CHUNKS = 64  # chunks of a CPU that make one for a GPU


def at_once(on_cpu: int, device: torch.device) -> int:
    """How much to work on at a time. On a CPU what is computed on the way then stays in its cache; a GPU needs more to be busy."""
    return on_cpu if device.type == "cpu" else GPU_CHUNKS * on_cpu


def over_chunks(work: Callable[..., T], *chunks: Sequence[Any]) -> list[T]:
    """`work(first[i], second[i], ...)` for every i, in as many threads as torch would use, when the first ones are tensors on a CPU.

    Each thread takes a chunk from beginning to end and computes alone. Torch's own threads meet after every operation, which on chunks
    that fit a cache takes as long as the operation, and far longer when another process holds one of the cores.
    """
    threads = min(torch.get_num_threads(), len(chunks[0]))
    if threads < 2 or chunks[0][0].device.type != "cpu":
        return [work(*chunk) for chunk in zip(*chunks, strict=True)]
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(work, *chunks))
    finally:
        torch.set_num_threads(before)
