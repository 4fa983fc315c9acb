"""FeatureRows to learn from, and the oracle that may lack."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import vlfeat


@pytest.fixture
def rows() -> np.ndarray:
    """(3000, 6) float32 around 8 places, of unlike spread in every direction and far from 0."""
    random = np.random.default_rng(0)
    places = random.normal(0, 3, (8, 6))
    spreads = random.uniform(0.3, 1.5, (8, 6))
    owner = random.integers(0, 8, 3000)
    return (20 + places[owner] + spreads[owner] * random.normal(size=(3000, 6))).astype(np.float32)


@pytest.fixture
def oracle() -> None:
    """Skips the test where VLFeat cannot be used."""
    reason = vlfeat.unavailable()
    if reason:
        pytest.skip(reason)
