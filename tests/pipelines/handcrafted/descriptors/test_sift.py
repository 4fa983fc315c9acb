from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr
from skimage.data import astronaut

from benchmarks import vlfeat
from pipelines.handcrafted.descriptors.patch_grids import Patches
from pipelines.handcrafted.descriptors.sift import ColorSift, DenseSift, gray

needs_vlfeat = pytest.mark.skipif(
    vlfeat.unavailable() is not None, reason=str(vlfeat.unavailable())
)

# The recipe of VLFeat's apps/recognition.
ONE_BIN = DenseSift(
    bins=(8,), scales=tuple(2 ** (-k / 2) for k in range(7)), smoothing=0, window=2, contrast=0
)


def photograph(height: int, width: int) -> torch.Tensor:
    """(1, 3, height, width) of the astronaut's face and collar, in 0..255."""
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
    """Of (n, m, 128) each, theirs of length 1; 1 where ours has no contrast."""
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
def test_equals_vl_phow(bins: tuple[int, ...], step: int, height: int, width: int) -> None:
    images = torch.cat([photograph(height, width), noise(1, height, width)])
    got = DenseSift(bins, step)(images)
    pixels, end = gray(images)[:, 0].numpy(), 0
    for size in bins:
        first = (
            int(np.floor(1 + 1.5 * (max(bins) - size))) - 1
        )  # vl_phow's offset, which counts from 1
        smooth = vlfeat.smooth(pixels, size / 6)
        descriptors, contrasts, centers = vlfeat.dsift(
            smooth, step=step, bin_size=size, first=first
        )
        start, end = end, end + len(centers)
        ours = got.values[:, start:end]
        assert cosines(ours, descriptors).min() >= 0.999
        # The two take gradients' lengths and angles with different errors, so a patch on the threshold may fall to either side.
        assert (ours[torch.from_numpy(contrasts > 0.00501)].norm(dim=-1) - 1).abs().max() < 1e-5
        assert not ours[torch.from_numpy(contrasts < 0.00499)].any()
        np.testing.assert_allclose(
            got.positions[start:end].numpy(), (centers + 0.5) / (width, height) - 0.5, atol=1e-6
        )
    assert got.values.shape == (2, end, DenseSift.length)


@needs_vlfeat
def test_equals_vl_dsift_at_one_bin_size_and_scale() -> None:
    images = photograph(70, 90)
    got = DenseSift(bins=(8,), scales=(1.0,), smoothing=0, window=2, contrast=0)(images)
    descriptors, _, _ = vlfeat.dsift(gray(images)[:, 0].numpy(), step=4, bin_size=8, window=2.0)
    assert (got.values.norm(dim=-1) - 1).abs().max() < 1e-5
    assert cosines(got.values, descriptors).min() >= 0.999


def test_scales_are_those_of_the_resized_images() -> None:
    images = photograph(64, 96)
    got = ONE_BIN(images)
    sizes = [(64, 96), (46, 68), (32, 48)]  # the next, 23 x 34, holds no patch of 25 pixels
    assert got.values.shape[1] == sum(((h - 25) // 4 + 1) * ((w - 25) // 4 + 1) for h, w in sizes)
    half = (
        torch.nn.functional.interpolate(gray(images), sizes[2], mode="bicubic", antialias=True)
        * 255
    )
    expected = DenseSift(bins=(8,), smoothing=0, window=2, contrast=0)(half.expand(-1, 3, -1, -1))
    count = expected.values.shape[1]
    torch.testing.assert_close(
        got.values[:, -count:], expected.values, atol=2e-3, rtol=0
    )  # the weights of gray sum to 0.9999
    torch.testing.assert_close(got.positions[-count:], expected.positions)


def test_gray_is_the_luma_of_television() -> None:
    images = noise(1, 9, 7)
    luma = rgb2ycbcr(images[0].permute(1, 2, 0).numpy() / 255)[..., 0]  # 16 to 235
    np.testing.assert_allclose(gray(images)[0, 0].numpy(), (luma - 16) / 219, atol=2e-4)


def test_gradients_of_one_direction_fill_its_two_bins() -> None:
    """A plane rising at 60 degrees: between 45 (bin 1) and 90 (bin 2), a third of the way."""
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    ramp = 4 * (np.cos(np.pi / 3) * x + np.sin(np.pi / 3) * y)
    values = DenseSift(bins=(4,), smoothing=0)(ramp.expand(1, 3, -1, -1)).values.view(-1, 16, 8)
    assert not values[..., [0, 3, 4, 5, 6, 7]].abs().gt(1e-5).any()
    corner = values[:, 0]  # its weight is small, so the limit on entries does not hold it down
    torch.testing.assert_close(
        corner[:, 2] / corner[:, 1], torch.full((len(values),), 0.5), atol=1e-3, rtol=0
    )


def test_root_sift_is_the_root_of_shares() -> None:
    images = photograph(50, 50)
    plain, root = (DenseSift(root=r)(images).values for r in (False, True))
    torch.testing.assert_close(
        root, (plain / plain.sum(-1, keepdim=True)).sqrt(), atol=1e-5, rtol=1e-4
    )


def test_color_sift_does_not_change_with_brightness_and_holds_plain_sift_of_gray() -> None:
    images = photograph(60, 60).clamp(min=8)
    color = ColorSift(contrast=0)
    plain, dark = color(images).values, color(images / 2).values
    torch.testing.assert_close(plain, dark, atol=1e-3, rtol=0)
    gray_images = images[:, :1].expand(-1, 3, -1, -1)
    of_gray = ColorSift()(gray_images).values
    torch.testing.assert_close(
        of_gray[..., :128], DenseSift()(gray_images).values, atol=2e-3, rtol=0
    )
    assert not of_gray[..., 128:].any()
    assert color(images).values[..., 128:].norm(dim=-1).gt(1.4).all()


DESCRIPTORS = [DenseSift(), DenseSift(root=True), ONE_BIN, ColorSift()]


@pytest.mark.parametrize("descriptor", DESCRIPTORS, ids=repr)
class TestEvery:
    def test_a_flat_image_has_zeros(self, descriptor: DenseSift) -> None:
        values = descriptor(torch.full((2, 3, 40, 45), 77.0)).values
        assert values.shape[1] > 0
        assert not values.any()

    @pytest.mark.parametrize("size", [(1, 1), (1, 100), (12, 12), (2, 30)])
    def test_an_image_too_small_for_a_patch_has_none(
        self, descriptor: DenseSift, size: tuple[int, int]
    ) -> None:
        patches = descriptor(noise(2, *size))
        assert patches.values.shape == (2, 0, descriptor.length)
        assert patches.positions.shape == (0, 2)

    def test_together_is_one_by_one(self, descriptor: DenseSift) -> None:
        images = noise(3, 217, 231)  # more pixels than one chunk's
        together = descriptor(images)
        alone = [descriptor(image[None]) for image in images]
        torch.testing.assert_close(
            together.values, torch.cat([a.values for a in alone]), atol=1e-5, rtol=0
        )
        torch.testing.assert_close(together.positions, alone[0].positions)

    def test_values_and_positions_are_within_bounds(self, descriptor: DenseSift) -> None:
        patches: Patches = descriptor(
            torch.cat(
                [noise(1, 53, 40), torch.zeros(1, 3, 53, 40), torch.full((1, 3, 53, 40), 255.0)]
            )
        )
        assert patches.values.dtype == patches.positions.dtype == torch.float32
        assert patches.values.isfinite().all()
        assert patches.values.min() >= 0
        assert patches.positions.abs().max() < 0.5
