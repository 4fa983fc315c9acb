from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pipelines.handcrafted.descriptors.gist import LocalGist, gabor_filters, normalize_contrast


def noise(n: int, height: int, width: int) -> torch.Tensor:
    return torch.randint(
        0, 256, (n, 3, height, width), generator=torch.Generator().manual_seed(0)
    ).float()


def test_filters_equal_the_published_formula() -> None:
    """createGabor.m computes frequencies from -n/2 on and shifts them."""
    n, orientations = 64, (8, 8, 4)
    fx, fy = np.meshgrid(np.arange(-n / 2, n / 2), np.arange(-n / 2, n / 2))
    frequency, angle = np.fft.fftshift(np.hypot(fx, fy)), np.fft.fftshift(np.angle(fx + 1j * fy))
    expected = []
    for scale, count in enumerate(orientations):
        for k in range(count):
            turned = angle + np.pi / count * k
            turned += 2 * np.pi * (turned < -np.pi) - 2 * np.pi * (turned > np.pi)
            width = 16 * count**2 / 32**2
            radial = -10 * 0.35 * (frequency / n / (0.3 / 1.85**scale) - 1) ** 2
            expected.append(np.exp(radial - 2 * width * np.pi * turned**2))
    np.testing.assert_allclose(
        gabor_filters(orientations, n, n, torch.device("cpu")).numpy(), expected, atol=1e-5
    )


@pytest.mark.parametrize(("scale", "direction"), [(0, 0), (1, 0), (1, 2), (2, 4), (2, 6)])
def test_a_wave_excites_the_filter_of_its_frequency_and_direction_most(
    scale: int, direction: int
) -> None:
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    angle = -math.pi * direction / 8
    wave = torch.sin(2 * math.pi * 0.3 / 1.85**scale * (math.cos(angle) * x + math.sin(angle) * y))
    values = LocalGist(cells=(16,))((128 + 8 * wave).expand(1, 3, -1, -1)).descriptors
    inner = values.view(-1, 16, 4, 8)[:, [5, 6, 9, 10]].mean((0, 1))
    strongest = inner.flatten().argsort(descending=True)[0]
    assert divmod(int(strongest), 8) == (scale, direction)


def test_contrast_normalization_removes_brightness_and_contrast() -> None:
    pixels = 0.5 + 0.2 * torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    plain, bright = normalize_contrast(pixels, 8), normalize_contrast(pixels * 1.4, 8)
    torch.testing.assert_close(plain, bright, atol=2e-3, rtol=0.02)
    assert abs(float(plain.mean())) < 0.02


def test_a_flat_image_is_described_by_almost_zero() -> None:
    values = LocalGist()(torch.full((1, 3, 50, 60), 77.0)).descriptors
    assert values.shape == (1, 3 * 4, 512)
    assert values.abs().max() < 1e-4


@pytest.mark.parametrize("size", [(1, 1), (1, 100), (31, 40)])
def test_an_image_that_is_too_small_for_a_patch_has_none(size: tuple[int, int]) -> None:
    patches = LocalGist()(noise(2, *size))
    assert patches.descriptors.shape == (2, 0, 512)
    assert patches.positions.shape == (0, 2)


def test_a_batch_is_described_as_its_images_one_by_one() -> None:
    images = noise(3, 217, 231)  # more pixels than a chunk
    gist = LocalGist(step=32)
    torch.testing.assert_close(
        gist(images).descriptors,
        torch.cat([gist(image[None]).descriptors for image in images]),
        atol=1e-5,
        rtol=0,
    )
