"""Settings of glibc's malloc that let a training step or a batch reuse memory of the last one."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Parameters of mallopt, from glibc's malloc.h, and the default of the third.
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
DEFAULT_MMAP_MAX = 65536
# glibc raises its threshold up to this as it sees large arrays freed; it then trims at twice that.
LARGEST_MMAP_THRESHOLD_BYTES = 32 << 20
NEVER = (1 << 31) - 1
IS_GLIBC = platform.libc_ver()[0] == "glibc"


@contextmanager
def keep_freed_memory(device: torch.device) -> Iterator[None]:
    """Keep large freed arrays in the process during work on a CPU; elsewhere do nothing.

    By default glibc returns each array of more than 32 MB to the operating system, which clears it
    page by page when the next array is filled. With the feature maps of the full network that is an
    eighth of a training step's time, and more of scoring's. On exit the defaults return and free
    memory goes to the system.
    """
    if device.type != "cpu" or not IS_GLIBC:
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(MMAP_MAX, 0)
    libc.mallopt(TRIM_THRESHOLD, NEVER)
    try:
        yield
    finally:
        libc.mallopt(MMAP_MAX, DEFAULT_MMAP_MAX)
        libc.mallopt(MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD_BYTES)
        libc.mallopt(TRIM_THRESHOLD, 2 * LARGEST_MMAP_THRESHOLD_BYTES)
        trim_heap()


def trim_heap() -> None:
    """Return free memory to the system, before work that needs memory of other sizes."""
    if IS_GLIBC:
        ctypes.CDLL(None).malloc_trim(0)
