from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from skimage.data import camera
from skimage.feature import local_binary_pattern

from pipelines.handcrafted.descriptors.lbp import (
    LbpCells,
    LocalPatterns,
    binary_patterns,
    uniform_patterns,
)
from pipelines.handcrafted.descriptors.sift import to_gray


def noise(n: int, height: int, width: int, levels: int = 256) -> torch.Tensor:
    return torch.randint(
        0, levels, (n, 3, height, width), generator=torch.Generator().manual_seed(0)
    ).float()


@pytest.mark.parametrize(
    ("method", "rotation_invariant"), [("uniform", True), ("nri_uniform", False)]
)
@pytest.mark.parametrize(("levels", "share"), [(256, 0.0), (2, 0.0), (4, 2e-3)])
def test_uniform_patterns_equal_scikit_image(
    method: str, rotation_invariant: bool, levels: int, share: float
) -> None:
    """Ties of a pixel and an interpolated neighbor are decided by scikit-image's rounding."""
    images = np.random.default_rng(0).integers(0, levels, (3, 37, 50)).astype(np.uint8)
    pixels = torch.from_numpy(images).float()[:, None] / 255
    labels = uniform_patterns(pixels, rotation_invariant)[:, 0].numpy()
    expected = np.stack([local_binary_pattern(image, 8, 1, method) for image in images])
    assert (labels != expected).mean() <= share


def test_patterns_of_a_photograph_equal_scikit_image() -> None:
    image = camera()[100:300, 150:330].copy()
    labels = binary_patterns(torch.from_numpy(image).float()[None, None] / 255)[0, 0].numpy()
    assert (labels != local_binary_pattern(image, 8, 1, "default")).mean() < 5e-3  # ties


@pytest.mark.parametrize("rotation_invariant", [False, True])
def test_local_patterns_are_square_roots_of_histograms_of_cells(rotation_invariant: bool) -> None:
    images = noise(2, 30, 41)
    labels = uniform_patterns(to_gray(images), rotation_invariant)[:, 0].numpy()
    descriptor = LocalPatterns((5,), 3, rotation_invariant)
    patterns = descriptor.length // 16
    tops, lefts = range(0, 30 - 20 + 1, 3), range(0, 41 - 20 + 1, 3)
    cells = [
        labels[:, y : y + 5, x : x + 5].reshape(2, 25)
        for top, left in product(tops, lefts)
        for y, x in product(range(top, top + 20, 5), range(left, left + 20, 5))
    ]
    histograms = [[np.bincount(image, minlength=patterns) for image in cell] for cell in cells]
    counts = np.stack(histograms, axis=1).reshape(2, -1, descriptor.length)
    np.testing.assert_allclose(
        descriptor(images).descriptors.numpy(), np.sqrt(counts / 25 / 16), atol=1e-4
    )


def test_cells_of_the_whole_image_hold_the_patterns_of_scikit_image() -> None:
    images = noise(1, 20, 33)[:, :1].expand(-1, 3, -1, -1)
    labels = local_binary_pattern(
        images[0, 0].numpy().astype(np.uint8), 8, 1, "nri_uniform"
    ).astype(int)
    cells = [labels[y : y + 8, x : x + 8].ravel() for y in (0, 8) for x in (0, 8, 16, 24)]
    expected = np.stack([np.bincount(cell, minlength=59) for cell in cells])
    labels = LbpCells(8)(images).view(8, 59)
    np.testing.assert_allclose(labels.square().numpy() * 64, expected, atol=1e-4)


def test_an_image_smaller_than_a_cell_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 8 pixels"):
        LbpCells(8)(noise(1, 7, 40))


@pytest.mark.parametrize("size", [(1, 1), (1, 100), (15, 40)])
def test_an_image_that_is_too_small_for_a_patch_has_none(size: tuple[int, int]) -> None:
    patches = LocalPatterns()(noise(2, *size))
    assert patches.descriptors.shape == (2, 0, 160)
    assert patches.positions.shape == (0, 2)


@pytest.mark.parametrize("value", [0.0, 77.0, 255.0])
def test_a_flat_image_shows_one_pattern(value: float) -> None:
    values = LocalPatterns((4,))(torch.full((1, 3, 40, 45), value)).descriptors.view(7, 8, 16, 10)[
        1:-1, 1:-1
    ]
    assert values.isfinite().all()
    torch.testing.assert_close(values[..., 8], torch.full_like(values[..., 8], 0.25))


def test_a_batch_is_described_as_its_images_one_by_one() -> None:
    images = noise(3, 217, 231)  # more pixels than a chunk
    for descriptor in (lambda batch: LocalPatterns()(batch).descriptors, LbpCells(16)):
        torch.testing.assert_close(
            descriptor(images), torch.cat([descriptor(image[None]) for image in images])
        )
