from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr
from skimage.data import astronaut

from benchmarks import vlfeat
from pipelines.handcrafted.descriptors.patch_grids import Patches
from pipelines.handcrafted.descriptors.sift import ColorSift, DenseSift, to_gray

needs_vlfeat = pytest.mark.skipif(
    vlfeat.unavailable() is not None, reason=str(vlfeat.unavailable())
)

# The recipe of VLFeat's apps/recognition.
ONE_BIN = DenseSift(
    bins=(8,), scales=tuple(2 ** (-k / 2) for k in range(7)), smoothing=0, window=2, contrast=0
)


def photograph(height: int, width: int) -> torch.Tensor:
    """(1, 3, height, width) of the astronaut's face and collar, in 0 to 255."""
    return (
        torch.from_numpy(astronaut()[60 : 60 + height, 150 : 150 + width].copy())
        .permute(2, 0, 1)[None]
        .float()
    )


def noise(n: int, height: int, width: int) -> torch.Tensor:
    return torch.randint(
        0, 256, (n, 3, height, width), generator=torch.Generator().manual_seed(0)
    ).float()


def cosines(ours: torch.Tensor, theirs: np.ndarray) -> np.ndarray:
    """Return cosines of (n, m, 128) each, theirs of length 1; 1 where ours is zero."""
    lengths = ours.norm(dim=-1).numpy()
    return np.where(lengths > 0, (ours.numpy() * theirs).sum(-1) / np.maximum(lengths, 1e-9), 1)


@needs_vlfeat
@pytest.mark.parametrize(
    ("bins", "step", "height", "width"),
    [
        ((4, 6, 8, 10), 4, 96, 80),
        ((4, 6, 8, 10), 3, 61, 70),
        ((5,), 2, 40, 41),
        ((3, 8), 5, 64, 50),
        ((4,), 1, 24, 30),
    ],
)
def test_sift_equals_vl_phow(bins: tuple[int, ...], step: int, height: int, width: int) -> None:
    images = torch.cat([photograph(height, width), noise(1, height, width)])
    patches = DenseSift(bins, step)(images)
    pixels, end = to_gray(images)[:, 0].numpy(), 0
    for size in bins:
        # The offset of vl_phow counts from 1.
        first = int(np.floor(1 + 1.5 * (max(bins) - size))) - 1
        smooth = vlfeat.smooth(pixels, size / 6)
        descriptors, contrasts, centers = vlfeat.dsift(
            smooth, step=step, bin_size=size, first=first
        )
        start, end = end, end + len(centers)
        ours = patches.descriptors[:, start:end]
        assert cosines(ours, descriptors).min() >= 0.999
        # Rounding differs, so a patch at the threshold may fall on either side.
        assert (ours[torch.from_numpy(contrasts > 0.00501)].norm(dim=-1) - 1).abs().max() < 1e-5
        assert not ours[torch.from_numpy(contrasts < 0.00499)].any()
        np.testing.assert_allclose(
            patches.positions[start:end].numpy(), (centers + 0.5) / (width, height) - 0.5, atol=1e-6
        )
    assert patches.descriptors.shape == (2, end, DenseSift.length)


@needs_vlfeat
def test_sift_equals_vl_dsift_at_one_bin_size_and_scale() -> None:
    images = photograph(70, 90)
    patches = DenseSift(bins=(8,), scales=(1.0,), smoothing=0, window=2, contrast=0)(images)
    descriptors, _, _ = vlfeat.dsift(to_gray(images)[:, 0].numpy(), step=4, bin_size=8, window=2.0)
    assert (patches.descriptors.norm(dim=-1) - 1).abs().max() < 1e-5
    assert cosines(patches.descriptors, descriptors).min() >= 0.999


def test_each_scale_describes_the_resized_image() -> None:
    images = photograph(64, 96)
    patches = ONE_BIN(images)
    sizes = [(64, 96), (46, 68), (32, 48)]  # the next, 23 x 34, holds no patch of 25 pixels
    assert patches.descriptors.shape[1] == sum(
        ((h - 25) // 4 + 1) * ((w - 25) // 4 + 1) for h, w in sizes
    )
    half = (
        torch.nn.functional.interpolate(to_gray(images), sizes[2], mode="bicubic", antialias=True)
        * 255
    )
    expected = DenseSift(bins=(8,), smoothing=0, window=2, contrast=0)(half.expand(-1, 3, -1, -1))
    count = expected.descriptors.shape[1]
    torch.testing.assert_close(
        patches.descriptors[:, -count:], expected.descriptors, atol=2e-3, rtol=0
    )  # the weights of gray sum to 0.9999
    torch.testing.assert_close(patches.positions[-count:], expected.positions)


def test_gray_is_the_luma_of_bt601() -> None:
    images = noise(1, 9, 7)
    luma = rgb2ycbcr(images[0].permute(1, 2, 0).numpy() / 255)[..., 0]  # 16 to 235
    np.testing.assert_allclose(to_gray(images)[0, 0].numpy(), (luma - 16) / 219, atol=2e-4)


def test_gradients_of_one_direction_fill_its_two_bins() -> None:
    """A plane rising at 60 degrees: between 45 (bin 1) and 90 (bin 2), a third of the way."""
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    ramp = 4 * (np.cos(np.pi / 3) * x + np.sin(np.pi / 3) * y)
    values = DenseSift(bins=(4,), smoothing=0)(ramp.expand(1, 3, -1, -1)).descriptors.view(
        -1, 16, 8
    )
    assert not values[..., [0, 3, 4, 5, 6, 7]].abs().gt(1e-5).any()
    corner = values[:, 0]  # its weight is small, so its entries are not clipped
    torch.testing.assert_close(
        corner[:, 2] / corner[:, 1], torch.full((len(values),), 0.5), atol=1e-3, rtol=0
    )


def test_root_sift_is_the_square_root_of_the_l1_normalized_entries() -> None:
    images = photograph(50, 50)
    plain, root = (DenseSift(root=r)(images).descriptors for r in (False, True))
    torch.testing.assert_close(
        root, (plain / plain.sum(-1, keepdim=True)).sqrt(), atol=1e-5, rtol=1e-4
    )


def test_color_sift_ignores_brightness_and_includes_sift_of_the_gray_image() -> None:
    images = photograph(60, 60).clamp(min=8)
    color = ColorSift(contrast=0)
    plain, dark = color(images).descriptors, color(images / 2).descriptors
    torch.testing.assert_close(plain, dark, atol=1e-3, rtol=0)
    gray_images = images[:, :1].expand(-1, 3, -1, -1)
    of_gray = ColorSift()(gray_images).descriptors
    torch.testing.assert_close(
        of_gray[..., :128], DenseSift()(gray_images).descriptors, atol=2e-3, rtol=0
    )
    assert not of_gray[..., 128:].any()
    assert color(images).descriptors[..., 128:].norm(dim=-1).gt(1.4).all()


DESCRIPTORS = [DenseSift(), DenseSift(root=True), ONE_BIN, ColorSift()]


@pytest.mark.parametrize("descriptor", DESCRIPTORS, ids=repr)
class TestEveryDescriptor:
    def test_a_flat_image_is_described_by_zeros(self, descriptor: DenseSift) -> None:
        values = descriptor(torch.full((2, 3, 40, 45), 77.0)).descriptors
        assert values.shape[1] > 0
        assert not values.any()

    @pytest.mark.parametrize("size", [(1, 1), (1, 100), (12, 12), (2, 30)])
    def test_an_image_that_is_too_small_for_a_patch_has_none(
        self, descriptor: DenseSift, size: tuple[int, int]
    ) -> None:
        patches = descriptor(noise(2, *size))
        assert patches.descriptors.shape == (2, 0, descriptor.length)
        assert patches.positions.shape == (0, 2)

    def test_a_batch_is_described_as_its_images_one_by_one(self, descriptor: DenseSift) -> None:
        images = noise(3, 217, 231)  # more pixels than a chunk
        together = descriptor(images)
        alone = [descriptor(image[None]) for image in images]
        torch.testing.assert_close(
            together.descriptors, torch.cat([a.descriptors for a in alone]), atol=1e-5, rtol=0
        )
        torch.testing.assert_close(together.positions, alone[0].positions)

    def test_values_and_positions_are_within_bounds(self, descriptor: DenseSift) -> None:
        patches: Patches = descriptor(
            torch.cat(
                [noise(1, 53, 40), torch.zeros(1, 3, 53, 40), torch.full((1, 3, 53, 40), 255.0)]
            )
        )
        assert patches.descriptors.dtype == patches.positions.dtype == torch.float32
        assert patches.descriptors.isfinite().all()
        assert patches.descriptors.min() >= 0
        assert patches.positions.abs().max() < 0.5
