from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.feature import hog as reference

from pipelines.handcrafted.descriptors.hog import Directions, Hog, LocalHog
from pipelines.handcrafted.resizing import resize_square


def expected(images: np.ndarray, cell: int, orientations: int, block: int) -> np.ndarray:
    gray = images.shape[1] == 1
    return np.stack(
        [
            reference(
                image[0] if gray else image,
                orientations=orientations, pixels_per_cell=(cell, cell), cells_per_block=(block, block), block_norm="L2-Hys",
                channel_axis=None if gray else 0,
            )
            for image in images
        ]
    )  # fmt: skip


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("height", "width", "cell", "orientations", "block"),
    [
        (32, 32, 4, 9, 2),
        (37, 50, 5, 8, 3),  # an odd cell, pixels left over, diagonal gradients on the edges of bins
        (64, 48, 8, 9, 2),
        (40, 41, 7, 12, 1),
        (16, 16, 8, 4, 2),
        (8, 8, 1, 9, 2),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_scikit_image(
    channels: int,
    height: int,
    width: int,
    cell: int,
    orientations: int,
    block: int,
    dtype: torch.dtype,
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, channels, height, width)).astype(float)
    got = Hog(cell, orientations, block)(torch.tensor(images, dtype=dtype))
    assert got.dtype == dtype
    np.testing.assert_allclose(got.numpy(), expected(images, cell, orientations, block), atol=1e-4)


def test_equals_scikit_image_on_few_gray_levels() -> None:
    """Most gradients are 0 or lie on the edges of bins, and channels tie."""
    images = np.random.default_rng(1).integers(0, 3, (4, 3, 32, 32)).astype(float)
    got = Hog(4, 8, 2)(torch.tensor(images, dtype=torch.float32))
    np.testing.assert_allclose(got.numpy(), expected(images, 4, 8, 2), atol=1e-4)


def test_images_beyond_one_chunk_are_described_alike() -> None:
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
        # A gradient along -180 degrees and one along 0 are the same bin but for the pixels that lie exactly on its edge.
        torch.testing.assert_close(plain[..., :9], negative[..., :9])
    if directions != "unsigned":
        torch.testing.assert_close(plain[..., -18:], negative[..., -18:].roll(9, pca_dims=-1))


def test_signed_directions_fold_to_unsigned_ones() -> None:
    right, down = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    signed = Hog(4, 9, 1, "signed").histograms(right, down)
    torch.testing.assert_close(
        signed[..., :9] + signed[..., 9:], Hog(4, 9, 1).histograms(right, down)
    )


def test_a_flat_image_is_described_by_zeros() -> None:
    assert not Hog()(torch.full((1, 3, 32, 32), 77.0)).any()


@pytest.mark.parametrize(("level", "size"), [(255, (200, 300)), (200, (256, 341)), (77, (50, 50))])
def test_a_flat_image_of_another_size_is_described_by_zeros(
    level: int, size: tuple[int, int]
) -> None:
    """Resizing leaves some millionths of it, which normalizing would make as much as an edge."""
    pixels = resize_square(torch.full((1, 3, *size), level, dtype=torch.uint8), 128)
    assert not Hog(16)(pixels).any()
    assert not LocalHog()(pixels).values.any()


def test_an_image_smaller_than_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 pixels"):
        Hog()(torch.zeros(1, 3, 15, 40))


def test_a_patch_of_local_hog_is_one_block_of_the_whole_images_hog() -> None:
    """A patch of 4 x 4 cells that covers the image is the image's only block of 4 x 4 cells."""
    image = torch.randint(
        0, 256, (2, 3, 24, 24), generator=torch.Generator().manual_seed(0)
    ).float()
    patches = LocalHog(cells=(6,), step=1)(image)
    assert patches.values.shape == (2, 1, 144)
    assert patches.positions.abs().max() < 1e-6
    torch.testing.assert_close(patches.values[:, 0], Hog(6, 9, 4)(image), atol=1e-5, rtol=1e-5)


def test_local_hog_of_flat_and_tiny_images() -> None:
    assert not LocalHog(cells=(4,))(torch.full((1, 3, 32, 32), 90.0)).values.any()
    assert LocalHog()(torch.zeros(1, 3, 8, 8)).values.shape == (1, 0, 144)
