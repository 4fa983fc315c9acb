"""Large arrays that are freed and made again cost few new pages while memory is kept."""

from __future__ import annotations

import resource

import pytest
import torch

from pipelines.learned.memory import GLIBC, hand_back, kept_memory

PAGES = (
    3 * 64 << 20
) // resource.getpagesize()  # of the arrays below, each larger than any that glibc keeps by itself


def new_pages(size: int = 64 << 20) -> int:
    """That the system hands out for arrays that are made one after the other and freed the other way round, as in a training step."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [torch.empty(size, dtype=torch.uint8).fill_(1) for _ in range(3)]
    while arrays:
        arrays.pop()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not GLIBC, reason="other C libraries keep memory by rules of their own")
def test_within_it_freed_arrays_are_used_again_until_they_are_handed_back() -> None:
    with kept_memory(torch.device("cpu")):
        first, *others = [new_pages() for _ in range(5)]
        assert min(others) < PAGES / 4 < first
        hand_back()
        assert new_pages() > PAGES / 2
    assert new_pages() > PAGES / 2


@pytest.mark.skipif(not GLIBC, reason="other C libraries keep memory by rules of their own")
def test_afterwards_arrays_that_glibc_would_keep_are_used_again() -> None:
    with kept_memory(torch.device("cpu")):
        pass
    first, *others = [new_pages(16 << 20) for _ in range(5)]
    assert min(others) < 100 < first


def test_elsewhere_it_does_nothing() -> None:
    with kept_memory(torch.device("meta")):
        assert torch.ones(3).sum() == 3
