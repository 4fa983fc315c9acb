"""Every stem trains, and a larger stride costs fewer multiply-adds."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.alexnet_stem import ARMS, fit_arm
from harness.data.split import Split


@pytest.fixture(scope="module")
def split() -> Split:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 3, 32, 32), dtype=np.uint8)
    return Split.from_arrays(pixels, [0, 1] * 4)


def test_the_stem_with_stride_2_is_the_cheapest(split: Split) -> None:
    costs = {}
    for name, arm in ARMS.items():
        error, costs[name] = fit_arm(arm, split, split, epochs=1, seed=0)
        assert 0 <= error <= 100
    assert min(costs, key=lambda name: costs[name]) == "7x7/2"
    assert max(costs, key=lambda name: costs[name]) == "half of the maps"
