"""Arrays that are freed and allocated again need few new pages while memory is kept."""

from __future__ import annotations

import resource

import pytest
import torch

from pipelines.learned.malloc import IS_GLIBC, keep_freed_memory, trim_heap

# Pages of three arrays, each larger than any that glibc keeps by itself.
PAGES = (3 * 64 << 20) // resource.getpagesize()


def new_pages(size: int = 64 << 20) -> int:
    """Count the new pages of three arrays freed in reverse order, as in a training step."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [torch.empty(size, dtype=torch.uint8).fill_(1) for _ in range(3)]
    while arrays:
        arrays.pop()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not IS_GLIBC, reason="other C libraries have rules of their own")
def test_freed_memory_is_reused_until_the_heap_is_trimmed() -> None:
    with keep_freed_memory(torch.device("cpu")):
        first, *others = [new_pages() for _ in range(5)]
        assert min(others) < PAGES / 4 < first
        trim_heap()
        assert new_pages() > PAGES / 2
    assert new_pages() > PAGES / 2


@pytest.mark.skipif(not IS_GLIBC, reason="other C libraries have rules of their own")
def test_afterwards_glibc_keeps_arrays_below_its_threshold() -> None:
    with keep_freed_memory(torch.device("cpu")):
        pass
    first, *others = [new_pages(16 << 20) for _ in range(5)]
    assert min(others) < 100 < first


def test_on_other_devices_nothing_changes() -> None:
    with keep_freed_memory(torch.device("meta")):
        assert torch.ones(3).sum() == 3
