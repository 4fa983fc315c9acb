from __future__ import annotations

import numpy as np
import scipy.linalg
import torch

from harness.contract import Split
from harness.engine.context import RunContext
from harness.engine.distributed import Processes
from pipelines.unsupervised.whitened_patches import (
    MAX_PATCHES_PER_IMAGE,
    all_patches,
    fit_whitening,
    normalize_patches,
    sample_patches,
)

random = np.random.default_rng(0)


def random_split(n: int = 40, side: int = 12) -> Split:
    pixels = random.integers(0, 256, (n, 3, side, side)).astype(np.uint8)
    return Split.from_arrays(pixels, np.arange(n) % 2)


def as_set(patches: torch.Tensor) -> set[bytes]:
    return {patch.numpy().tobytes() for patch in patches}


def test_all_patches_are_in_reading_order() -> None:
    images = torch.rand(2, 3, 7, 9)
    patches = all_patches(images, 4, 2)
    assert patches.shape == (2, 2, 3, 3, 4, 4)
    assert torch.equal(patches[1, 1, 2], images[1, :, 2:6, 4:8])


def test_normalized_patches_have_mean_0_and_almost_unit_variance() -> None:
    patches = torch.from_numpy(random.integers(0, 256, (5, 108)).astype(np.float32))
    patches[4] = 200
    normalized = normalize_patches(patches)
    variance = patches.var(1)[:4]
    torch.testing.assert_close(normalized.mean(1), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalized.var(1)[:4], variance / (variance + 10))
    assert normalized[4].eq(0).all()


def test_a_sample_has_patches_of_every_image() -> None:
    split = random_split()
    sample = sample_patches(split, 12, 6, 100, RunContext())
    assert sample.shape == (40 * 3, 108)  # the smallest number per image that gives 100
    (batch,) = split.batches(40)
    assert isinstance(batch.images, torch.Tensor)
    patches = all_patches(batch.images.float(), 6, 1).reshape(40, 49, 108)
    patches_by_image = [as_set(image_patches) for image_patches in normalize_patches(patches)]
    assert as_set(sample) <= set.union(*patches_by_image)
    for image_patches in patches_by_image:
        assert 1 <= len(as_set(sample) & image_patches) <= 3  # a patch may be drawn twice


def test_a_sample_depends_on_the_seed_but_not_on_order_or_processes() -> None:
    split = random_split()
    expected = as_set(sample_patches(split, 12, 6, 100, RunContext()))
    reordered = split.take(np.arange(40)[::-1])
    assert as_set(sample_patches(reordered, 12, 6, 100, RunContext())) == expected
    contexts = [RunContext(processes=Processes(rank, 3, torch.device("cpu"))) for rank in range(3)]
    shares = [
        as_set(sample_patches(split.sharded(rank, 3), 12, 6, 100, context))
        for rank, context in enumerate(contexts)
    ]
    assert set.union(*shares) == expected
    assert sum(map(len, shares)) == len(expected)
    assert as_set(sample_patches(split, 12, 6, 100, RunContext(seed=1))) != expected


def test_a_sample_is_bounded_for_few_and_for_many_images() -> None:
    few = sample_patches(random_split(2), 12, 6, 10_000, RunContext())
    assert len(few) == 2 * MAX_PATCHES_PER_IMAGE
    assert len(sample_patches(random_split(40), 12, 6, 15, RunContext())) == 15
    assert len(sample_patches(random_split(2, side=6), 6, 6, 2, RunContext())) == 2


def test_whitening_is_the_inverse_square_root_of_the_covariance() -> None:
    mixing = random.normal(size=(20, 20)).astype(np.float32)
    sample = random.normal(size=(500, 20)).astype(np.float32) @ mixing + 3
    whitening = fit_whitening(torch.from_numpy(sample), RunContext())
    covariance = np.cov(sample.T.astype(np.float64), bias=True)
    expected = np.linalg.inv(scipy.linalg.sqrtm(covariance + 0.1 * np.eye(20)))
    np.testing.assert_allclose(whitening.mean.numpy(), sample.mean(0), atol=1e-5)
    np.testing.assert_allclose(whitening.axes.numpy(), expected, atol=1e-5)
    whitened = whitening(torch.from_numpy(sample)).numpy()
    np.testing.assert_allclose(whitened, (sample - sample.mean(0)) @ expected, atol=1e-4)


def test_whitening_of_featureless_patches_is_finite() -> None:
    whitening = fit_whitening(torch.zeros(10, 108), RunContext())
    assert whitening.axes.isfinite().all()
