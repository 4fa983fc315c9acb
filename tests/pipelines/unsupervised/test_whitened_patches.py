from __future__ import annotations

import numpy as np
import scipy.linalg
import torch
from harness.context import RunContext
from harness.distributed import Processes

from harness.contract import Split
from pipelines.unsupervised.whitened_patches import (
    MAX_PATCHES_PER_IMAGE,
    fit_whitening,
    sample_patches,
)

random = np.random.default_rng(0)


def split(n: int = 40, side: int = 12) -> Split:
    return Split.from_arrays(
        random.integers(0, 256, (n, 3, side, side)).astype(np.uint8), np.arange(n) % 2
    )


def as_set(patches: torch.Tensor) -> set[bytes]:
    return {patch.numpy().tobytes() for patch in patches}


def test_windows_are_the_patches_in_reading_order() -> None:
    images = torch.rand(2, 3, 7, 9)
    found = all_patches(images, 4, 2)
    assert found.shape == (2, 2, 3, 3, 4, 4)
    assert torch.equal(found[1, 1, 2], images[1, :, 2:6, 4:8])


def test_normalized_patches_have_no_mean_and_about_unit_variance() -> None:
    patches = torch.from_numpy(random.integers(0, 256, (5, 108)).astype(np.float32))
    patches[4] = 200
    found = normalize_patches(patches)
    torch.testing.assert_close(found.mean(1), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.var(1)[:4], patches.var(1)[:4] / (patches.var(1)[:4] + 10))
    assert found[4].eq(0).all()


def test_a_sample_holds_patches_of_every_image() -> None:
    images = split()
    sample = sample_patches(images, 12, 6, 100, RunContext())
    assert sample.shape == (40 * 3, 108)  # the least number an image that makes 100
    (batch,) = images.batches(40)
    assert isinstance(batch.images, torch.Tensor)
    places = [
        as_set(own)
        for own in normalize_patches(all_patches(batch.images.float(), 6, 1).reshape(40, 49, 108))
    ]
    assert as_set(sample) <= set.union(*places)
    assert all(1 <= len(as_set(sample) & own) <= 3 for own in places)  # a place may be drawn twice


def test_a_sample_hangs_on_the_seed_but_not_on_order_and_processes() -> None:
    images = split()
    whole = as_set(sample_patches(images, 12, 6, 100, RunContext()))
    assert (
        as_set(sample_patches(images.take(np.arange(40)[::-1]), 12, 6, 100, RunContext())) == whole
    )
    processes = [RunContext(processes=Processes(rank, 3, torch.device("cpu"))) for rank in range(3)]
    shares = [
        as_set(sample_patches(images.sharded(rank, 3), 12, 6, 100, context))
        for rank, context in enumerate(processes)
    ]
    assert set.union(*shares) == whole
    assert sum(map(len, shares)) == len(whole)
    assert as_set(sample_patches(images, 12, 6, 100, RunContext(seed=1))) != whole


def test_a_sample_is_bounded_for_few_images_and_for_many() -> None:
    assert len(sample_patches(split(2), 12, 6, 10_000, RunContext())) == 2 * MAX_PATCHES_PER_IMAGE
    assert len(sample_patches(split(40), 12, 6, 15, RunContext())) == 15
    assert len(sample_patches(split(2, side=6), 6, 6, 2, RunContext())) == 2


def test_whitening_is_the_inverse_root_of_the_covariance() -> None:
    sample = (
        random.normal(size=(500, 20)).astype(np.float32)
        @ random.normal(size=(20, 20)).astype(np.float32)
        + 3
    )
    whitening = fit_whitening(torch.from_numpy(sample), RunContext())
    covariance = np.cov(sample.T.astype(np.float64), bias=True)
    wanted = np.linalg.inv(scipy.linalg.sqrtm(covariance + 0.1 * np.eye(20)))
    np.testing.assert_allclose(whitening.mean.numpy(), sample.mean(0), atol=1e-5)
    np.testing.assert_allclose(whitening.axes.numpy(), wanted, atol=1e-5)
    np.testing.assert_allclose(
        whitening(torch.from_numpy(sample)).numpy(), (sample - sample.mean(0)) @ wanted, atol=1e-4
    )


def test_whitening_of_featureless_patches_is_finite() -> None:
    whitening = fit_whitening(torch.zeros(10, 108), RunContext())
    assert whitening.axes.isfinite().all()
