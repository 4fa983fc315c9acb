"""Work on a CPU shared out among threads in chunks, not operation by operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

T = TypeVar("T")


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
