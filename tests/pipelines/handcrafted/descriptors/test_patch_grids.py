from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from pipelines.handcrafted.descriptors.patch_grids import Grid, Kernel, gaussian_blur


@pytest.mark.parametrize(
    ("height", "width", "cell", "step", "first"),
    [(40, 57, 4, 4, 0), (61, 45, 6, 4, 3), (50, 50, 5, 7, 2)],
)
@pytest.mark.parametrize("kernel", ["box", "triangle"])
def test_sums_equal_those_of_each_cell_by_itself(
    height: int, width: int, cell: int, step: int, first: int, kernel: str
) -> None:
    planes = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    grid = Grid(
        height,
        width,
        cell,
        step,
        first,
        Kernel.box(cell) if kernel == "box" else Kernel.triangle(cell),
    )
    out = torch.full((2, len(grid), 4 * 4 * 3), torch.nan)
    grid.cell_sums(planes, out)
    padded = np.pad(planes.numpy(), ((0, 0), (0, 0), (cell, cell), (cell, cell)), mode="edge")
    reach = cell - 1 if kernel == "box" else 0
    starts = [range(first, side - 3 * cell - reach, step) for side in (height, width)]
    weights = np.ones(cell) / cell if kernel == "box" else 1 - abs(np.arange(1 - cell, cell)) / cell
    lead = 0 if kernel == "box" else cell - 1
    expected = []
    for top, left, row, column in product(*starts, range(4), range(4)):
        y, x = top + row * cell - lead + cell, left + column * cell - lead + cell
        pixels = padded[:, :, y : y + len(weights), x : x + len(weights)]
        expected.append(np.einsum("ndyx,y,x->nd", pixels, weights, weights))
    np.testing.assert_allclose(
        out.numpy(), np.stack(expected, axis=1).reshape(2, len(grid), -1), atol=1e-4
    )


def test_positions_are_the_centers_of_patches() -> None:
    halves = Grid(16, 32, 4, 16, 0, Kernel.box(4)).positions()
    torch.testing.assert_close(halves, torch.tensor([[-0.25, 0.0], [0.25, 0.0]]))
    # Bins of 4 pixels around rows 0, 4, 8 and 12 of 13.
    torch.testing.assert_close(
        Grid(13, 13, 4, 1, 0, Kernel.triangle(4)).positions(), torch.zeros(1, 2)
    )


def test_a_patch_must_lie_within_the_image() -> None:
    assert [len(Grid(side, 40, 4, 4, 0, Kernel.box(4))) for side in (1, 15, 16, 19, 20)] == [
        0,
        0,
        7,
        7,
        14,
    ]
    assert [len(Grid(side, 13, 4, 4, 0, Kernel.triangle(4))) for side in (12, 13, 17)] == [0, 1, 2]


@pytest.mark.parametrize("sigma", [0.5, 1.7])
def test_a_gaussian_blur_equals_scipy(sigma: float) -> None:
    planes = torch.rand(2, 1, 37, 50, generator=torch.Generator().manual_seed(0))
    blurred = gaussian_blur(planes, sigma)
    radius = int(np.ceil(4 * sigma))
    expected = [
        gaussian_filter(image[0].numpy(), sigma, mode="nearest", radius=radius) for image in planes
    ]
    np.testing.assert_allclose(blurred[:, 0].numpy(), np.stack(expected), atol=1e-6)
