"""Memory that a training step has freed is there for the next one."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Of glibc's malloc.h: parameters of mallopt, and what they are by default.
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
DEFAULT_MMAP_MAX = 65536
# Bytes, to which glibc itself raises the threshold as it sees large arrays freed; it then trims at twice that.
LARGEST_MMAP_THRESHOLD = 32 << 20
NEVER = (1 << 31) - 1
GLIBC = platform.libc_ver()[0] == "glibc"


@contextmanager
def kept_memory(device: torch.device) -> Iterator[None]:
    """Within it, large arrays freed on a CPU stay with the process, where the C library is glibc.

    By default glibc hands each array of more than 32 MB back to the system, which clears it page by page when the next one like it
    is filled: with the maps of the full network an eighth of a step's time. Afterwards what is free is handed back.
    """
    if device.type != "cpu" or not GLIBC:
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(MMAP_MAX, 0)
    libc.mallopt(TRIM_THRESHOLD, NEVER)
    try:
        yield
    finally:
        libc.mallopt(MMAP_MAX, DEFAULT_MMAP_MAX)
        libc.mallopt(MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
        libc.mallopt(TRIM_THRESHOLD, 2 * LARGEST_MMAP_THRESHOLD)
        hand_back()


def hand_back() -> None:
    """What is free goes back to the system: before work of another kind, which would need memory beside that of a step."""
    if GLIBC:
        ctypes.CDLL(None).malloc_trim(0)
