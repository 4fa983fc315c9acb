"""Histograms of oriented gradients (Dalal & Triggs, CVPR 2005) of whole images and of patches, batched, on CPU and GPU alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, threshold

from pipelines.handcrafted.chunks import at_once, over_chunks
from pipelines.handcrafted.descriptors.patches import (
    CELLS,
    Grid,
    Kernel,
    Patches,
    aligned_grids,
    on_grids,
)

Directions = Literal["unsigned", "signed", "both"]

CLIP = 0.2  # L2-Hys: no entry of a normalized block counts for more
EPSILON = 1e-5  # in units of the mean gradient magnitude of a cell
# Gray levels: a gradient below this is that of rounded arithmetic, as resizing leaves it on flat pixels. Normalized, it would count for as
# much as an edge; gradients between 8-bit pixels are 0 or at least 1.
ROUNDING = 1e-3
# Angles are rounded down to bins after this nudge, in bins. It outweighs the rounding of float32 angles and is smaller than the
# distance from a bin's edge of any gradient between 8-bit pixels that does not lie on it, so those get the exact bin.
NUDGE = 1e-6
CHUNK_PIXELS = (
    2**17
)  # described at a time: what is computed on the way then stays in a processor's cache


@dataclass(frozen=True)
class Hog:
    """The HOG descriptor of whole images: float (n, channels, height, width) to (n, `length`), of the images' type.

    cell          pixels along a cell's side; what is left over at the right and bottom edges is not described
    orientations  bins over 180 degrees; each pixel votes for the one bin that its gradient falls in, with its magnitude
    block         cells along the side of a block; blocks overlap, at a step of one cell, and each is normalized (L2-Hys)
    directions    "unsigned": opposite gradients share a bin, as published; "signed": 2 x orientations bins over 360
                  degrees; "both": the two histograms together (Felzenszwalb et al., PAMI 2010, sec. 6)

    A pixel's gradient is (right - left, below - above) in the channel where that is longest; the image's outermost rows have no
    vertical and its outermost columns no horizontal part. With unsigned directions this equals `skimage.feature.hog`.
    """

    cell: int = 8
    orientations: int = 9
    block: int = 2
    directions: Directions = "unsigned"

    def __call__(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if min(height, width) < self.cell * self.block:
            raise ValueError(
                f"HOG needs images of at least {self.cell * self.block} pixels a side, got {height} x {width}"
            )
        chunks = images.split(max(1, at_once(CHUNK_PIXELS, images.device) // (height * width)))
        return torch.cat(over_chunks(self._describe, chunks))

    def _describe(self, images: Tensor) -> Tensor:
        right, down = strongest_gradient(images)
        return normalize_blocks(self.histograms(right, down), self.block).flatten(1)

    def histograms(self, right: Tensor, down: Tensor) -> Tensor:
        """Votes a cell and pixel: (n, height, width) gradients to (n, rows of cells, columns of cells, bins)."""
        n, rows, columns = right.shape[0], right.shape[1] // self.cell, right.shape[2] // self.cell
        half_turn = self.orientations
        bins = (
            torch.atan2(down, right)
            .mul_(half_turn / math.pi)
            .add_(NUDGE)
            .floor_()
            .to(torch.int32)
            .add_(half_turn)
        )
        magnitude = threshold(torch.hypot(right, down), ROUNDING, 0.0, inplace=True)
        # A cell is a bag of pixels that look up their bin's one-hot row and add it up, weighted by their magnitude.
        table = self._bin_table(magnitude)
        votes = embedding_bag(
            cell_pixels(bins, self.cell),
            table,
            per_sample_weights=cell_pixels(magnitude, self.cell),
            mode="sum",
        )
        return votes.view(n, rows, columns, -1) / self.cell**2

    def _bin_table(self, like: Tensor) -> Tensor:
        """(2 x orientations + 1, bins): row i says which bins an angle of i bins above -180 degrees votes for."""
        angles = torch.arange(-self.orientations, self.orientations + 1, device=like.device)
        unsigned = torch.eye(self.orientations, dtype=like.dtype, device=like.device)[
            angles % self.orientations
        ]
        signed = torch.eye(2 * self.orientations, dtype=like.dtype, device=like.device)[
            angles % (2 * self.orientations)
        ]
        return {
            "unsigned": unsigned,
            "signed": signed,
            "both": torch.cat([unsigned, signed], dim=1),
        }[self.directions]


@dataclass(frozen=True)
class LocalHog:
    """HOG of patches of 4 x 4 cells, float32 (n, 3, h, w) in 0..255: each patch is one block, normalized (L2-Hys).

    cells         pixels along a cell, one grid of patches each; the first patches of all grids share their center
    step          pixels between patches
    orientations  bins over 180 degrees
    """

    cells: tuple[int, ...] = (4, 6, 8)
    step: int = 4
    orientations: int = 9

    @property
    def length(self) -> int:
        return CELLS * CELLS * self.orientations

    def __call__(self, images: Tensor) -> Patches:
        grids = aligned_grids(images.shape[-2:], self.cells, self.step, Kernel.box)
        return on_grids(images, grids, self.length, self._describe)

    def _describe(self, images: Tensor, grids: list[tuple[Grid, Tensor]]) -> None:
        right, down = strongest_gradient(images)
        bins = (
            torch.atan2(down, right)
            .mul_(self.orientations / math.pi)
            .add_(NUDGE)
            .floor_()
            .remainder_(self.orientations)
        )
        each = torch.arange(self.orientations, device=images.device)[:, None, None]
        planes = threshold(torch.hypot(right, down), ROUNDING, 0.0, inplace=True)[:, None] * (
            bins[:, None] == each
        )
        for grid, out in grids:
            grid.sums(planes, out)
            _unit_rows(out)
            _unit_rows(out.clamp_(max=CLIP))


def cell_pixels(pixels: Tensor, cell: int) -> Tensor:
    """(n, height, width) to (n * rows * columns, cell * cell): the pixels of each cell, without what is left over right and below."""
    rows, columns = pixels.shape[1] // cell, pixels.shape[2] // cell
    whole = pixels[:, : rows * cell, : columns * cell]
    return whole.reshape(-1, rows, cell, columns, cell).transpose(2, 3).reshape(-1, cell * cell)


def strongest_gradient(images: Tensor) -> tuple[Tensor, Tensor]:
    """(n, channels, height, width) to the (n, height, width) parts to the right and downward; of equal channels the first counts."""
    best_right, best_down = gradient(images[:, 0])
    best = best_right.square().addcmul_(best_down, best_down)
    for channel in range(1, images.shape[1]):
        right, down = gradient(images[:, channel])
        squared = right.square().addcmul_(down, down)
        # Blends by 0 or 1 give the one or the other exactly, in a fraction of the time of torch.where.
        stronger = torch.gt(squared, best, out=torch.empty_like(best))
        best_right.lerp_(right, stronger)
        best_down.lerp_(down, stronger)
        torch.maximum(best, squared, out=best)
    return best_right, best_down


def gradient(channel: Tensor) -> tuple[Tensor, Tensor]:
    """(n, height, width) to its central differences to the right and downward; 0 where a neighbor is missing."""
    right, down = torch.zeros_like(channel), torch.zeros_like(channel)
    torch.sub(channel[..., :, 2:], channel[..., :, :-2], out=right[..., :, 1:-1])
    torch.sub(channel[..., 2:, :], channel[..., :-2, :], out=down[..., 1:-1, :])
    return right, down


def normalize_blocks(cells: Tensor, block: int) -> Tensor:
    """L2-Hys over each square of block x block cells: (n, rows, columns, bins) to (n, rows', columns', block, block, bins)."""
    blocks = cells.unfold(1, block, 1).unfold(2, block, 1).permute(0, 1, 2, 4, 5, 3)
    clipped = _unit(blocks).clamp_(max=CLIP)
    return _unit(clipped)


def _unit_rows(values: Tensor) -> None:
    """In place, along the last dimension."""
    values *= values.square().sum(-1, keepdim=True).add_(EPSILON**2).rsqrt_()


def _unit(blocks: Tensor) -> Tensor:
    squares = blocks.square().sum(dim=(3, 4, 5), keepdim=True)
    return blocks * squares.add_(EPSILON**2).rsqrt_()
