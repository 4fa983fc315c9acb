from __future__ import annotations

import numpy as np
import pytest
import torch

from pipelines.learned.augmentation import (
    CenterCrop,
    ColorNoise,
    PixelStatistics,
    RandomCrop,
    RandomFlip,
    SubtractMean,
    pixel_sums,
    views,
)
from pipelines.learned.batch_noise import BatchNoise


def photographs(n, side=12, seed=0):
    """Return uint8 noise with correlated channels, as in photographs."""
    rng = np.random.default_rng(seed)
    gray = rng.integers(0, 200, (n, 1, side, side))
    return torch.from_numpy((gray + rng.integers(0, 56, (n, 3, side, side))).astype(np.uint8))


def noise(n, seed=0):
    return BatchNoise(torch.Generator().manual_seed(seed), n)


def statistics(images, size):
    return PixelStatistics.from_sums(
        pixel_sums(images.split(size), images.shape[-1], torch.device("cpu")), len(images)
    )


def test_pixel_statistics_are_those_of_numpy():
    images = photographs(50)
    pixels = statistics(images, 7)
    colors = images.double().permute(1, 0, 2, 3).flatten(1).numpy()
    variances, directions = np.linalg.eigh(np.cov(colors, bias=True))
    np.testing.assert_allclose(pixels.mean.numpy(), images.double().mean(0).numpy(), rtol=1e-6)
    np.testing.assert_allclose(pixels.variances.numpy(), variances, rtol=1e-5)
    np.testing.assert_allclose(
        np.abs(pixels.directions.numpy().T @ directions), np.eye(3), atol=1e-5
    )


def test_pixel_statistics_do_not_depend_on_the_batches():
    images = photographs(50)
    one, many = statistics(images, 50), statistics(images, 3)
    assert torch.equal(one.mean, many.mean)
    assert torch.equal(one.variances, many.variances)


def test_color_noise_is_one_color_per_image_with_the_variance_of_the_formula():
    pixels = statistics(photographs(50), 50)
    step = ColorNoise.from_statistics(pixels, "paper")
    shift = step(torch.zeros(20_000, 3, 2, 2), noise(20_000))
    assert torch.equal(shift, shift[:, :, :1, :1].expand_as(shift))
    # Pixels in [0, 1] have eigenvalues l / 255^2, so the shift in gray levels is 0.1 l / 255.
    p, scale = pixels.directions.double(), 0.1 * pixels.variances.double() / 255
    expected = p @ torch.diag(scale**2) @ p.T
    torch.testing.assert_close(
        torch.cov(shift[:, :, 0, 0].double().T),
        expected,
        rtol=0.05,
        atol=0.05 * float(expected.max()),
    )


def test_color_noise_of_the_code_scales_with_the_standard_deviations():
    """The covariance is 0.1^2 times that of the pixels; noise and image are divided by 1.1."""
    pixels = statistics(photographs(50), 50)
    shift = (
        ColorNoise.from_statistics(pixels, "code")(
            torch.full((20_000, 3, 1, 1), 11.0), noise(20_000)
        )
        .flatten(1)
        .double()
        - 10
    )
    p = pixels.directions.double()
    expected = (0.1 / 1.1) ** 2 * p @ torch.diag(pixels.variances.double()) @ p.T
    torch.testing.assert_close(
        torch.cov(shift.T), expected, rtol=0.05, atol=0.05 * float(expected.max())
    )
    assert shift.mean().abs() < 0.1


def test_random_crop_draws_a_position_per_image():
    images = torch.arange(2000 * 3 * 36).view(2000, 3, 6, 6).float()
    crops = RandomCrop(4)(images, noise(2000))
    windows = images.unfold(2, 4, 1).unfold(3, 4, 1)  # (n, 3, 3 tops, 3 lefts, 4, 4)
    is_match = (crops[:, :, None, None] == windows).all(-1).all(-1).all(1)  # (n, 3, 3)
    assert (is_match.sum((1, 2)) == 1).all()
    assert (is_match.float().mean(0) - 1 / 9).abs().max() < 0.03  # nine equally likely positions


def test_random_flip_flips_about_half():
    images = torch.rand(2000, 3, 2, 5)
    out = RandomFlip()(images, noise(2000))
    is_flipped = (out == images.flip(3)).flatten(1).all(1)
    is_kept = (out == images).flatten(1).all(1)
    assert (is_flipped ^ is_kept).all()
    assert 0.45 < is_flipped.float().mean() < 0.55


def test_subtract_mean_and_center_crop():
    images = photographs(3)
    mean = torch.rand(3, 12, 12)
    torch.testing.assert_close(SubtractMean(mean)(images), images.float() - mean)
    assert torch.equal(CenterCrop(8)(images), images[:, :, 2:10, 2:10])


@pytest.mark.parametrize(
    ("corners", "flips", "count"),
    [(True, True, 10), (True, False, 5), (False, True, 2), (False, False, 1)],
)
def test_number_of_views(corners, flips, count):
    image = torch.arange(3 * 64).view(1, 3, 8, 8).float()
    crops = list(views(image, 6, corners=corners, flips=flips))
    assert len(crops) == len({tuple(crop.flatten().tolist()) for crop in crops}) == count
    assert torch.equal(crops[0], image[:, :, 1:7, 1:7])


def test_ten_views_are_the_corners_the_center_and_their_flips():
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
        crop.numpy().tobytes() for crop in views(image, 6, corners=True, flips=True)
    } == expected
