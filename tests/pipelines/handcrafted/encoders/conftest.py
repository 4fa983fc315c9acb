"""Rows to fit encoders to, and a fixture that skips tests where VLFeat is missing."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import vlfeat


@pytest.fixture
def rows() -> np.ndarray:
    """(3000, 6) float32 in 8 clusters of different spread in every direction, far from 0."""
    random = np.random.default_rng(0)
    centers = random.normal(0, 3, (8, 6))
    spreads = random.uniform(0.3, 1.5, (8, 6))
    owner = random.integers(0, 8, 3000)
    return (20 + centers[owner] + spreads[owner] * random.normal(size=(3000, 6))).astype(np.float32)


@pytest.fixture
def vlfeat_oracle() -> None:
    """Skip the test where VLFeat cannot be used."""
    reason = vlfeat.unavailable()
    if reason:
        pytest.skip(reason)
