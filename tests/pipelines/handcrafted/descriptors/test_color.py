from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from pipelines.handcrafted.descriptors.color import ColorStatistics


def noise(n: int, height: int, width: int) -> torch.Tensor:
    return torch.randint(
        0, 256, (n, 3, height, width), generator=torch.Generator().manual_seed(0)
    ).float()


@pytest.mark.parametrize(("cell", "step", "height", "width"), [(4, 4, 40, 33), (5, 3, 31, 47)])
def test_statistics_equal_numpy_cell_by_cell(cell: int, step: int, height: int, width: int) -> None:
    images = noise(2, height, width)
    scaled = images.numpy() / 127.5 - 1
    tops, lefts = (range(0, side - 4 * cell + 1, step) for side in (height, width))
    expected = []
    for top, left, row, column in product(tops, lefts, range(4), range(4)):
        y, x = top + row * cell, left + column * cell
        block = scaled[:, :, y : y + cell, x : x + cell]
        expected.append(np.concatenate([block.mean((2, 3)), block.std((2, 3))], axis=1))
    descriptors = ColorStatistics((cell,), step)(images).descriptors
    np.testing.assert_allclose(
        descriptors.numpy(), np.stack(expected, axis=1).reshape(2, -1, 96), atol=1e-5
    )


def test_the_first_patches_of_all_cell_sizes_share_their_center() -> None:
    patches = ColorStatistics()(noise(1, 60, 60))
    side = {cell: (60 - (10 - cell) * 2 - 4 * cell) // 4 + 1 for cell in (4, 6, 8, 10)}
    starts = np.cumsum([0, *(count**2 for count in side.values())])
    assert len(patches.positions) == starts[-1]
    torch.testing.assert_close(patches.positions[starts[:-1]], patches.positions[:1].expand(4, -1))


def test_a_flat_image_has_its_color_and_zero_deviations() -> None:
    color = torch.tensor([200.0, 0.0, 127.5])
    cells = ColorStatistics()(color[None, :, None, None].expand(2, -1, 50, 43)).descriptors.view(
        -1, 6
    )
    torch.testing.assert_close(
        cells[:, :3], (color / 127.5 - 1).expand(len(cells), -1), atol=1e-5, rtol=0
    )
    assert cells[:, 3:].abs().max() < 1e-3


@pytest.mark.parametrize("size", [(1, 1), (1, 100), (15, 40)])
def test_an_image_that_is_too_small_for_a_patch_has_none(size: tuple[int, int]) -> None:
    patches = ColorStatistics()(noise(2, *size))
    assert patches.descriptors.shape == (2, 0, 96)
    assert patches.positions.shape == (0, 2)


def test_a_batch_is_described_as_its_images_one_by_one() -> None:
    images = noise(3, 217, 231)  # more pixels than a chunk
    alone = torch.cat([ColorStatistics()(image[None]).descriptors for image in images])
    torch.testing.assert_close(ColorStatistics()(images).descriptors, alone, atol=1e-5, rtol=0)
