"""Local color statistics, batched, on CPU and GPU alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pipelines.handcrafted.descriptors.patches import (
    CELLS,
    Grid,
    Kernel,
    Patches,
    aligned_grids,
    on_grids,
)

MIDDLE = 127.5  # of 0..255


@dataclass(frozen=True)
class ColorStatistics:
    """Mean and standard deviation of red, green and blue in a patch's 4 x 4 cells: float32 (n, 3, h, w) in 0..255 to 96 values.

    Clinchant, Csurka, Perronnin & Renders, ImageEval workshop at CIVR 2007; as Sanchez & Perronnin (CVPR 2011) took them beside
    SIFT. Each cell has its three means, on a scale from -1 for black to 1 for white, and then its three deviations on that scale.
    A flat patch has a color: only one of middle gray is the zero vector.

    cells  pixels along a cell, one grid of patches each; the first patches of all grids share their center
    step   pixels between patches
    """

    cells: tuple[int, ...] = (4, 6, 8, 10)
    step: int = 4
    length: ClassVar[int] = CELLS * CELLS * 6

    def __call__(self, images: Tensor) -> Patches:
        grids = aligned_grids(images.shape[-2:], self.cells, self.step, Kernel.box)
        return on_grids(images, grids, self.length, _describe)


def _describe(images: Tensor, grids: list[tuple[Grid, Tensor]]) -> None:
    centerd = images / MIDDLE - 1
    planes = torch.cat([centerd, centerd.square()], dim=1)
    for grid, out in grids:
        grid.sums(planes, out)
        means, squares = out.unflatten(-1, (CELLS * CELLS, 2, 3)).unbind(-2)
        squares.addcmul_(means, means, value=-1).clamp_(min=0).sqrt_()
