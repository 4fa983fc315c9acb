from __future__ import annotations

import numpy as np
import pytest
import torch

from pipelines.learned.augmentation import (
    Center,
    CenterCrop,
    ColorNoise,
    PixelStatistics,
    RandomCrop,
    RandomFlip,
    pixel_sums,
    views,
)
from pipelines.learned.noise import BatchNoise


def photographs(n, side=12, seed=0):
    """uint8 noise whose channels go together, as in photographs."""
    rng = np.random.default_rng(seed)
    gray = rng.integers(0, 200, (n, 1, side, side))
    return torch.from_numpy((gray + rng.integers(0, 56, (n, 3, side, side))).astype(np.uint8))


def noise(n, seed=0):
    return BatchNoise(torch.Generator().manual_seed(seed), n)


def statistics(images, size):
    return PixelStatistics.of(
        pixel_sums(images.split(size), images.shape[-1], torch.device("cpu")), len(images)
    )


def test_pixel_statistics_against_numpy():
    images = photographs(50)
    found = statistics(images, 7)
    pixels = images.double().permute(1, 0, 2, 3).flatten(1).numpy()
    variances, directions = np.linalg.eigh(np.cov(pixels, bias=True))
    np.testing.assert_allclose(found.mean.numpy(), images.double().mean(0).numpy(), rtol=1e-6)
    np.testing.assert_allclose(found.variances.numpy(), variances, rtol=1e-5)
    np.testing.assert_allclose(
        np.abs(found.directions.numpy().T @ directions), np.eye(3), atol=1e-5
    )


def test_pixel_statistics_do_not_depend_on_batches():
    images = photographs(50)
    one, many = statistics(images, 50), statistics(images, 3)
    assert torch.equal(one.mean, many.mean)
    assert torch.equal(one.variances, many.variances)


def test_color_noise_is_one_color_an_image_with_the_variance_of_the_formula():
    found = statistics(photographs(50), 50)
    step = ColorNoise.of(found, "paper")
    shift = step(torch.zeros(20_000, 3, 2, 2), noise(20_000))
    assert torch.equal(shift, shift[:, :, :1, :1].expand_as(shift))
    # Pixels in [0, 1] have eigenvalues l / 255^2; a shift of 0.1 of that times N(0, 1), in gray levels, is 0.1 l / 255.
    p, scale = found.directions.double(), 0.1 * found.variances.double() / 255
    expected = p @ torch.diag(scale**2) @ p.T
    torch.testing.assert_close(
        torch.cov(shift[:, :, 0, 0].double().T),
        expected,
        rtol=0.05,
        atol=0.05 * float(expected.max()),
    )


def test_color_noise_of_the_code_has_a_tenth_of_the_standard_deviations():
    """Its covariance is 0.1^2 times that of the pixels, all of it and the image divided by 1.1."""
    found = statistics(photographs(50), 50)
    shift = (
        ColorNoise.of(found, "code")(torch.full((20_000, 3, 1, 1), 11.0), noise(20_000))
        .flatten(1)
        .double()
        - 10
    )
    p = found.directions.double()
    expected = (0.1 / 1.1) ** 2 * p @ torch.diag(found.variances.double()) @ p.T
    torch.testing.assert_close(
        torch.cov(shift.T), expected, rtol=0.05, atol=0.05 * float(expected.max())
    )
    assert shift.mean().abs() < 0.1


def test_random_crop_cuts_every_image_at_its_own_place():
    images = torch.arange(2000 * 3 * 36).view(2000, 3, 6, 6).float()
    crops = RandomCrop(4)(images, noise(2000))
    windows = images.unfold(2, 4, 1).unfold(3, 4, 1)  # (n, 3, 3 tops, 3 lefts, 4, 4)
    found = (crops[:, :, None, None] == windows).all(-1).all(-1).all(1)  # (n, 3, 3)
    assert (found.sum((1, 2)) == 1).all()
    assert (found.float().mean(0) - 1 / 9).abs().max() < 0.03  # all nine places alike


def test_random_flip_mirrors_about_half():
    images = torch.rand(2000, 3, 2, 5)
    out = RandomFlip()(images, noise(2000))
    mirrored = (out == images.flip(3)).flatten(1).all(1)
    kept = (out == images).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert 0.45 < mirrored.float().mean() < 0.55


def test_center():
    images = photographs(3)
    mean = torch.rand(3, 12, 12)
    torch.testing.assert_close(Center(mean)(images), images.float() - mean)
    assert torch.equal(CenterCrop(8)(images), images[:, :, 2:10, 2:10])


@pytest.mark.parametrize(
    ("corners", "mirrored", "count"),
    [(True, True, 10), (True, False, 5), (False, True, 2), (False, False, 1)],
)
def test_views(corners, mirrored, count):
    image = torch.arange(3 * 64).view(1, 3, 8, 8).float()
    crops = list(views(image, 6, corners=corners, mirrored=mirrored))
    assert len(crops) == len({tuple(crop.flatten().tolist()) for crop in crops}) == count
    assert torch.equal(crops[0], image[:, :, 1:7, 1:7])


def test_ten_views_are_the_corners_the_center_and_their_mirror_images():
    image = torch.rand(2, 3, 8, 8)
    x = image.numpy()
    squares = [
        x[:, :, :6, :6],
        x[:, :, :6, 2:],
        x[:, :, 2:, :6],
        x[:, :, 2:, 2:],
        x[:, :, 1:7, 1:7],
    ]
    expected = {array.tobytes() for square in squares for array in (square, square[..., ::-1])}
    assert {
        crop.numpy().tobytes() for crop in views(image, 6, corners=True, mirrored=True)
    } == expected
