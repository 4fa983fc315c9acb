"""VLFeat is compiled on first use, or its absence explained; its functions keep their shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import vlfeat

needs_vlfeat = pytest.mark.skipif(
    vlfeat.unavailable() is not None, reason=str(vlfeat.unavailable())
)


def test_a_missing_compiler_is_named(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(workdir))
    monkeypatch.setattr("shutil.which", lambda name: None)
    vlfeat.library.cache_clear()
    assert vlfeat.unavailable() == "gcc is not installed"
    with pytest.raises(vlfeat.Unavailable, match="gcc is not installed"):
        vlfeat.smooth(np.zeros((1, 8, 8), np.float32), 1.0)
    monkeypatch.undo()
    vlfeat.library.cache_clear()


@needs_vlfeat
def test_shapes_of_descriptors() -> None:
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 40)).astype(np.float32)
    descriptors, contrasts, centers = vlfeat.dsift(images, step=4, bin_size=4)
    assert descriptors.shape == (*contrasts.shape, 128) == (2, len(centers), 128)
    assert vlfeat.hog(images[:, None], cell=8).shape == (2, 36, 4, 5)


@needs_vlfeat
def test_smoothing_keeps_a_constant_image() -> None:
    constant = np.full((1, 16, 16), 7, np.float32)
    np.testing.assert_allclose(vlfeat.smooth(constant, 2.0), constant, rtol=1e-5)


@needs_vlfeat
def test_posteriors_sum_to_one() -> None:
    rng = np.random.default_rng(0)
    means, variances = rng.normal(size=(3, 4)), np.ones((3, 4))
    rows = rng.normal(size=(20, 4)).astype(np.float32)
    parameters = [a.astype(np.float32) for a in (means, variances, np.full(3, 1 / 3))]
    posteriors, log_likelihood = vlfeat.posteriors(rows, *parameters)
    np.testing.assert_allclose(posteriors.sum(axis=1), 1, rtol=1e-5)
    assert log_likelihood < 0
