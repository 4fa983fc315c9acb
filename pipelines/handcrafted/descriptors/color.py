"""Local color statistics, batched, on CPU and GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pipelines.handcrafted.descriptors.patch_grids import (
    CELLS,
    GridOutputs,
    Kernel,
    Patches,
    aligned_grids,
    describe_on_grids,
)

MID_GRAY = 127.5  # of 0 to 255


@dataclass(frozen=True)
class ColorStatistics:
    """Mean and standard deviation of red, green and blue in the 4 x 4 cells of a patch: 96 values.

    Clinchant, Csurka, Perronnin & Renders, ImageEval workshop at CIVR 2007; Sanchez & Perronnin
    (CVPR 2011) used them next to SIFT. Each cell has its three means, on a scale from -1 for black
    to 1 for white, and then its three deviations on that scale. A flat patch has a color: only
    mid-gray is the zero vector.

    Parameters
    ----------
    cells : tuple of pixels
        Cell sizes, with one grid of patches each; the grids' first patches share their center.
    step : pixels
        Between patches.
    """

    cells: tuple[int, ...] = (4, 6, 8, 10)
    step: int = 4
    length: ClassVar[int] = CELLS * CELLS * 6

    def __call__(self, images: Tensor) -> Patches:
        """Describe images (n, 3, h, w) float32 in 0 to 255."""
        grids = aligned_grids(images.shape[-2:], self.cells, self.step, Kernel.box)
        return describe_on_grids(images, grids, self.length, _write_statistics)


def _write_statistics(images: Tensor, outputs: GridOutputs) -> None:
    scaled = images / MID_GRAY - 1
    planes = torch.cat([scaled, scaled.square()], dim=1)
    for grid, out in outputs:
        grid.cell_sums(planes, out)
        means, squares = out.unflatten(-1, (CELLS * CELLS, 2, 3)).unbind(-2)
        squares.addcmul_(means, means, value=-1).clamp_(min=0).sqrt_()
