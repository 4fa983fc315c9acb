"""Histograms of oriented gradients (Dalal & Triggs, CVPR 2005) of whole images and of patches.

They are our own because they are about 20 times as fast as scikit-image's `hog`, which they equal
(docs/results/speed.md), and run in batches on CPU and GPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, threshold

from pipelines.handcrafted.chunks import chunk_size, map_chunks
from pipelines.handcrafted.descriptors.patch_grids import (
    CELLS,
    GridOutputs,
    Kernel,
    Patches,
    aligned_grids,
    describe_on_grids,
)

Directions = Literal["unsigned", "signed", "both"]

CLIP = 0.2  # L2-Hys: entries of a normalized block are clipped to this
EPSILON = 1e-5  # in units of the mean gradient magnitude of a cell
# Gray levels. Gradients below this are rounding errors that resizing leaves on flat pixels, which
# normalization would make as large as an edge; gradients between 8-bit pixels are 0 or at least 1.
ROUNDING = 1e-3
# In bins: added to angles before they are rounded down to bins. It exceeds the rounding error of
# float32 angles and is below the distance from a bin's edge of any gradient between 8-bit pixels
# that is not on the edge, so these get the exact bin.
NUDGE = 1e-6
CHUNK_PIXELS = 2**17  # pixels described at a time: intermediate results then fit a CPU's cache


@dataclass(frozen=True)
class Hog:
    """The HOG descriptor of whole images.

    A pixel's gradient is (right - left, below - above) in the channel where that is longest; the
    image's outermost rows have no vertical and its outermost columns no horizontal component. With
    unsigned directions the descriptor equals `skimage.feature.hog`.

    Parameters
    ----------
    cell : pixels
        Side of a cell; pixels left over at the right and bottom edges are not described.
    orientations
        Bins per 180 degrees. Each pixel votes with its gradient's magnitude for the one bin that
        the gradient falls in.
    block : cells
        Side of a block. Blocks overlap, at a step of one cell, and each is normalized (L2-Hys).
    directions
        "unsigned": opposite gradients share a bin, as published; "signed": 2 * orientations bins
        over 360 degrees; "both": both histograms (Felzenszwalb et al., PAMI 2010, section 6).
    """

    cell: int = 8
    orientations: int = 9
    block: int = 2
    directions: Directions = "unsigned"

    def __call__(self, images: Tensor) -> Tensor:
        """Describe images (n, channels, height, width) float: (n, features) of their dtype."""
        height, width = images.shape[-2:]
        if min(height, width) < self.cell * self.block:
            raise ValueError(
                f"HOG needs images of at least {self.cell * self.block} pixels per side, "
                f"got {height} x {width}"
            )
        count = max(1, chunk_size(CHUNK_PIXELS, images.device) // (height * width))
        return torch.cat(map_chunks(self._describe, images.split(count)))

    def _describe(self, images: Tensor) -> Tensor:
        right, down = strongest_gradient(images)
        return normalize_blocks(self.histograms(right, down), self.block).flatten(1)

    def histograms(self, right: Tensor, down: Tensor) -> Tensor:
        """Return votes per pixel of a cell.

        Parameters
        ----------
        right, down : (n, height, width)
            Components of the gradients.

        Returns
        -------
        Tensor : (n, rows of cells, columns of cells, bins)
        """
        n, rows, columns = right.shape[0], right.shape[1] // self.cell, right.shape[2] // self.cell
        bins = _orientation_bins(right, down, self.orientations).to(torch.int32)
        magnitude = gradient_magnitude(right, down)
        # A cell is a bag of pixels that look up their bin's one-hot row and sum it, weighted by
        # their magnitude.
        votes = embedding_bag(
            cell_pixels(bins.add_(self.orientations), self.cell),
            self._one_hot_bins(magnitude),
            per_sample_weights=cell_pixels(magnitude, self.cell),
            mode="sum",
        )
        return votes.view(n, rows, columns, -1) / self.cell**2

    def _one_hot_bins(self, like: Tensor) -> Tensor:
        """Return the bins that each angle votes for: (2 * orientations + 1, bins).

        Row i is for an angle of i bins above -180 degrees.
        """
        count, dtype, device = self.orientations, like.dtype, like.device
        angles = torch.arange(-count, count + 1, device=device)
        unsigned = torch.eye(count, dtype=dtype, device=device)[angles % count]
        signed = torch.eye(2 * count, dtype=dtype, device=device)[angles % (2 * count)]
        tables = {
            "unsigned": unsigned,
            "signed": signed,
            "both": torch.cat([unsigned, signed], dim=1),
        }
        return tables[self.directions]


@dataclass(frozen=True)
class LocalHog:
    """HOG of patches of 4 x 4 cells: each patch is one block, normalized (L2-Hys).

    Parameters
    ----------
    cells : tuple of pixels
        Cell sizes, with one grid of patches each; the grids' first patches share their center.
    step : pixels
        Between patches.
    orientations
        Bins per 180 degrees.
    """

    cells: tuple[int, ...] = (4, 6, 8)
    step: int = 4
    orientations: int = 9

    @property
    def length(self) -> int:
        return CELLS * CELLS * self.orientations

    def __call__(self, images: Tensor) -> Patches:
        """Describe images (n, 3, h, w) float32 in 0 to 255."""
        grids = aligned_grids(images.shape[-2:], self.cells, self.step, Kernel.box)
        return describe_on_grids(images, grids, self.length, self._write_histograms)

    def _write_histograms(self, images: Tensor, outputs: GridOutputs) -> None:
        right, down = strongest_gradient(images)
        bins = _orientation_bins(right, down, self.orientations).remainder_(self.orientations)
        orientations = torch.arange(self.orientations, device=images.device)[:, None, None]
        is_in_bin = bins[:, None] == orientations
        planes = gradient_magnitude(right, down)[:, None] * is_in_bin
        for grid, out in outputs:
            grid.cell_sums(planes, out)
            _normalize_rows_(out)
            _normalize_rows_(out.clamp_(max=CLIP))


def _orientation_bins(right: Tensor, down: Tensor, orientations: int) -> Tensor:
    """Return the gradients' angles in whole bins of 180 / orientations degrees, as float."""
    angles = torch.atan2(down, right)
    return angles.mul_(orientations / math.pi).add_(NUDGE).floor_()


def gradient_magnitude(right: Tensor, down: Tensor) -> Tensor:
    """Return the gradients' magnitudes; those below ROUNDING are 0."""
    return threshold(torch.hypot(right, down), ROUNDING, 0.0, inplace=True)


def cell_pixels(pixels: Tensor, cell: int) -> Tensor:
    """Return the pixels of each cell: (n, height, width) -> (n * rows * columns, cell * cell).

    Pixels left over at the right and bottom edges are omitted.
    """
    rows, columns = pixels.shape[1] // cell, pixels.shape[2] // cell
    covered = pixels[:, : rows * cell, : columns * cell]
    return covered.reshape(-1, rows, cell, columns, cell).transpose(2, 3).reshape(-1, cell * cell)


def strongest_gradient(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the longest of the channels' gradients; the first channel wins ties.

    Parameters
    ----------
    images : (n, channels, height, width)

    Returns
    -------
    right, down : (n, height, width)
    """
    best_right, best_down = gradient(images[:, 0])
    best = best_right.square().addcmul_(best_down, best_down)
    for channel in range(1, images.shape[1]):
        right, down = gradient(images[:, channel])
        squared = right.square().addcmul_(down, down)
        # Interpolating by 0 or 1 gives the one or the other exactly, and is faster than
        # torch.where.
        stronger = torch.gt(squared, best, out=torch.empty_like(best))
        best_right.lerp_(right, stronger)
        best_down.lerp_(down, stronger)
        torch.maximum(best, squared, out=best)
    return best_right, best_down


def gradient(channel: Tensor) -> tuple[Tensor, Tensor]:
    """Return central differences to the right and downward, 0 where a neighbor is missing.

    Parameters
    ----------
    channel : (n, height, width)

    Returns
    -------
    right, down : (n, height, width)
    """
    right, down = torch.zeros_like(channel), torch.zeros_like(channel)
    torch.sub(channel[..., :, 2:], channel[..., :, :-2], out=right[..., :, 1:-1])
    torch.sub(channel[..., 2:, :], channel[..., :-2, :], out=down[..., 1:-1, :])
    return right, down


def normalize_blocks(cells: Tensor, block: int) -> Tensor:
    """Normalize each square of block x block cells (L2-Hys).

    Parameters
    ----------
    cells : (n, rows, columns, bins)
    block : cells

    Returns
    -------
    Tensor : (n, rows - block + 1, columns - block + 1, block, block, bins)
    """
    blocks = cells.unfold(1, block, 1).unfold(2, block, 1).permute(0, 1, 2, 4, 5, 3)
    clipped = _normalize_block(blocks).clamp_(max=CLIP)
    return _normalize_block(clipped)


def _normalize_rows_(values: Tensor) -> None:
    """Scale vectors along the last dimension to unit length, in place."""
    values *= values.square().sum(-1, keepdim=True).add_(EPSILON**2).rsqrt_()


def _normalize_block(blocks: Tensor) -> Tensor:
    """Return blocks (..., block, block, bins) of unit length."""
    squares = blocks.square().sum(dim=(3, 4, 5), keepdim=True)
    return blocks * squares.add_(EPSILON**2).rsqrt_()
