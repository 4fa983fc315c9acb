"""Where a descriptor lies: regions of a spatial pyramid, or the position as part of the descriptor.

Positions are (m, 2) float32: x and y in units of the image's width and height, less 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def pyramid_regions(positions: Tensor, grids: Sequence[tuple[int, int]]) -> Tensor:
    """Return which positions lie in which region (Lazebnik, Schmid & Ponce, CVPR 2006).

    Parameters
    ----------
    positions : (m, 2)
    grids : sequence of (rows, columns)
        Levels of the pyramid.

    Returns
    -------
    Tensor : (r, m) bool
        One row per region: grid by grid, and row by row within a grid.
    """
    x, y = (positions + 0.5).unbind(1)
    regions = []
    for rows, columns in grids:
        row = (y * rows).floor().clamp(0, rows - 1)
        column = (x * columns).floor().clamp(0, columns - 1)
        cells = torch.arange(rows * columns, device=positions.device)
        regions.append(row * columns + column == cells[:, None])
    return torch.cat(regions)


def append_positions(descriptors: Tensor, positions: Tensor) -> Tensor:
    """Append x and y to descriptors (n, m, d) of n images: (n, m, d + 2).

    This is VLFeat's "xy" extension (Sanchez, Perronnin & de Campos, PRL 2012).
    """
    per_image = positions.to(descriptors.dtype).expand(len(descriptors), -1, -1)
    return torch.cat([descriptors, per_image], dim=2)
