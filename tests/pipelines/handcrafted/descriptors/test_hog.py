from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.feature import hog as scikit_image_hog

from pipelines.handcrafted.descriptors.hog import Directions, Hog, LocalHog
from pipelines.handcrafted.resizing import resize_square


def expected(images: np.ndarray, cell: int, orientations: int, block: int) -> np.ndarray:
    """Return the descriptors of scikit-image, (n, features)."""
    is_gray = images.shape[1] == 1
    descriptors = [
        scikit_image_hog(
            image[0] if is_gray else image,
            orientations=orientations,
            pixels_per_cell=(cell, cell),
            cells_per_block=(block, block),
            block_norm="L2-Hys",
            channel_axis=None if is_gray else 0,
        )
        for image in images
    ]
    return np.stack(descriptors)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("height", "width", "cell", "orientations", "block"),
    [
        (32, 32, 4, 9, 2),
        (37, 50, 5, 8, 3),  # odd cell, pixels left over, diagonals on bin edges
        (64, 48, 8, 9, 2),
        (40, 41, 7, 12, 1),
        (16, 16, 8, 4, 2),
        (8, 8, 1, 9, 2),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_hog_equals_scikit_image(
    channels: int,
    height: int,
    width: int,
    cell: int,
    orientations: int,
    block: int,
    dtype: torch.dtype,
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, channels, height, width)).astype(float)
    descriptors = Hog(cell, orientations, block)(torch.tensor(images, dtype=dtype))
    assert descriptors.dtype == dtype
    np.testing.assert_allclose(
        descriptors.numpy(), expected(images, cell, orientations, block), atol=1e-4
    )


def test_hog_equals_scikit_image_on_few_gray_levels() -> None:
    """Most gradients are 0 or on the edges of bins, and channels tie."""
    images = np.random.default_rng(1).integers(0, 3, (4, 3, 32, 32)).astype(float)
    descriptors = Hog(4, 8, 2)(torch.tensor(images, dtype=torch.float32))
    np.testing.assert_allclose(descriptors.numpy(), expected(images, 4, 8, 2), atol=1e-4)


def test_images_of_several_chunks_are_described_as_single_images() -> None:
    images = torch.tensor(
        np.random.default_rng(2).integers(0, 256, (6, 1, 256, 256)), dtype=torch.float32
    )
    together = Hog()(images)
    torch.testing.assert_close(together[5:], Hog()(images[5:]))


@pytest.mark.parametrize(("directions", "bins"), [("unsigned", 9), ("signed", 18), ("both", 27)])
def test_a_negative_has_the_same_unsigned_and_opposite_signed_directions(
    directions: Directions, bins: int
) -> None:
    images = torch.tensor(
        np.random.default_rng(3).integers(0, 256, (2, 1, 32, 32)), dtype=torch.float32
    )
    hog = Hog(4, 9, 1, directions)
    plain, negative = (hog(i).view(2, 8, 8, bins) for i in (images, 255 - images))
    if directions != "signed":
        # Gradients at -180 and 0 degrees share a bin, except exactly on its edge.
        torch.testing.assert_close(plain[..., :9], negative[..., :9])
    if directions != "unsigned":
        torch.testing.assert_close(plain[..., -18:], negative[..., -18:].roll(9, dims=-1))


def test_signed_directions_fold_to_unsigned_ones() -> None:
    right, down = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    signed = Hog(4, 9, 1, "signed").histograms(right, down)
    torch.testing.assert_close(
        signed[..., :9] + signed[..., 9:], Hog(4, 9, 1).histograms(right, down)
    )


def test_a_flat_image_is_described_by_zeros() -> None:
    assert not Hog()(torch.full((1, 3, 32, 32), 77.0)).any()


@pytest.mark.parametrize(("level", "size"), [(255, (200, 300)), (200, (256, 341)), (77, (50, 50))])
def test_a_resized_flat_image_is_described_by_zeros(level: int, size: tuple[int, int]) -> None:
    """Resizing leaves rounding errors, which normalization would make as large as an edge."""
    pixels = resize_square(torch.full((1, 3, *size), level, dtype=torch.uint8), 128)
    assert not Hog(16)(pixels).any()
    assert not LocalHog()(pixels).descriptors.any()


def test_an_image_smaller_than_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 pixels"):
        Hog()(torch.zeros(1, 3, 15, 40))


def test_a_patch_of_local_hog_equals_one_block_of_hog() -> None:
    """A patch of 4 x 4 cells that covers the image is the image's only block of 4 x 4 cells."""
    image = torch.randint(
        0, 256, (2, 3, 24, 24), generator=torch.Generator().manual_seed(0)
    ).float()
    patches = LocalHog(cells=(6,), step=1)(image)
    assert patches.descriptors.shape == (2, 1, 144)
    assert patches.positions.abs().max() < 1e-6
    torch.testing.assert_close(patches.descriptors[:, 0], Hog(6, 9, 4)(image), atol=1e-5, rtol=1e-5)


def test_local_hog_of_a_flat_image_is_zero_and_of_a_tiny_image_empty() -> None:
    assert not LocalHog(cells=(4,))(torch.full((1, 3, 32, 32), 90.0)).descriptors.any()
    assert LocalHog()(torch.zeros(1, 3, 8, 8)).descriptors.shape == (1, 0, 144)
