"""Where a descriptor lies: spatial pyramids (Lazebnik, Schmid & Ponce, CVPR 2006), or the position as part of the descriptor.

Positions are (m, 2) x and y, in units of the image's width and height, less 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def pyramid(positions: Tensor, grids: Sequence[tuple[int, int]]) -> Tensor:
    """(r, m) bool: which descriptors lie in which cell. The cells of each (rows, columns) grid in turn, row by row."""
    x, y = (positions + 0.5).unbind(1)
    regions = []
    for rows, columns in grids:
        row = (y * rows).floor().clamp(0, rows - 1)
        column = (x * columns).floor().clamp(0, columns - 1)
        cells = torch.arange(rows * columns, device=positions.device)
        regions.append(row * columns + column == cells[:, None])
    return torch.cat(regions)


def with_positions(values: Tensor, positions: Tensor) -> Tensor:
    """Descriptors (n, m, d) with x and y appended: (n, m, d + 2). VLFeat's "xy" extension; Sanchez, Perronnin & de Campos, PRL 2012."""
    return torch.cat([values, positions.to(values.dtype).expand(len(values), -1, -1)], dim=2)
