"""Local binary patterns (Ojala, Pietikainen & Maenpaa, PAMI 2002) of 8 neighbors at a distance of 1, batched, on CPU and GPU alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, pad

from pipelines.handcrafted.descriptors.hog import cell_pixels
from pipelines.handcrafted.descriptors.patches import (
    CELLS,
    Grid,
    Kernel,
    Patches,
    aligned_grids,
    on_grids,
)
from pipelines.handcrafted.descriptors.sift import gray

NEIGHBORS = 8
TIE = 1e-4  # of 0..255: a neighbor that is darker than the pixel by no more counts as equal, hence as set
PATTERNS = {False: NEIGHBORS + 2, True: NEIGHBORS * (NEIGHBORS - 1) + 3}


@dataclass(frozen=True)
class LocalPatterns:
    """Histograms of uniform patterns in a patch's 4 x 4 cells, float32 (n, 3, h, w) in 0..255: square roots of shares, of length 1.

    cells     pixels along a cell, one grid of patches each; the first patches of all grids share their center
    step      pixels between patches
    directed  59 patterns, else the 10 that are left when turned patterns count as one: `uniform_patterns`

    A flat patch shows one pattern and is not the zero vector.
    """

    cells: tuple[int, ...] = (4, 6, 8, 10)
    step: int = 4
    directed: bool = False

    @property
    def length(self) -> int:
        return CELLS * CELLS * PATTERNS[self.directed]

    def __call__(self, images: Tensor) -> Patches:
        grids = aligned_grids(images.shape[-2:], self.cells, self.step, Kernel.box)
        return on_grids(images, grids, self.length, self._describe)

    def _describe(self, images: Tensor, grids: list[tuple[Grid, Tensor]]) -> None:
        labels = uniform_patterns(gray(images), self.directed)
        planes = (
            labels == torch.arange(PATTERNS[self.directed], device=images.device)[:, None, None]
        ).to(images.dtype)
        for grid, out in grids:
            grid.sums(planes, out)
            out.sqrt_().div_(CELLS)  # a cell's roots have length 1


@dataclass(frozen=True)
class LbpCells:
    """Histograms of uniform patterns in the cells of the whole image: float32 (n, 3, height, width) in 0..255 to (n, features).

    cell      pixels along a cell's side; what is left over at the right and bottom edges is not described
    directed  59 patterns, else 10: `uniform_patterns`

    Shares of patterns within each cell come as their square roots, so that a cell has length 1.
    """

    cell: int = 8
    directed: bool = True

    def __call__(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if min(height, width) < self.cell:
            raise ValueError(
                f"LBP needs images of at least {self.cell} pixels a side, got {height} x {width}"
            )
        labels = uniform_patterns(gray(images), self.directed)[:, 0]
        # A cell is a bag of pixels that look up their pattern's one-hot row.
        one_hot = torch.eye(PATTERNS[self.directed], device=images.device)
        shares = embedding_bag(cell_pixels(labels, self.cell), one_hot, mode="mean")
        return shares.sqrt_().view(len(images), -1)


def uniform_patterns(pixels: Tensor, directed: bool) -> Tensor:
    """(n, 1, height, width) gray values in 0..1 to int64 labels: `skimage.feature.local_binary_pattern`(P=8, R=1).

    directed  method "nri_uniform": 58 labels for the ways in which neighbors not darker than the pixel can form one arc, else
              "uniform": their number, 0 to 8. The last label is for all other patterns. What lies past the edge is black.
    """
    return _label_table(directed, pixels.device)[binary_patterns(pixels).long()]


def binary_patterns(pixels: Tensor) -> Tensor:
    """(n, 1, height, width) gray values in 0..1 to uint8: bit k is set if the neighbor at k * 45 degrees is not darker.

    Anticlockwise from the right; diagonal neighbors, at a distance of 1 too, are interpolated.
    """
    height, width = pixels.shape[-2:]
    padded = pad(pixels, (1, 1, 1, 1))

    def rise(down: int, right: int) -> Tensor:
        return padded[..., 1 + down : 1 + down + height, 1 + right : 1 + right + width] - pixels

    part = round(
        math.sqrt(0.5), 5
    )  # of the way to the diagonal pixel, in each direction; rounded as in scikit-image
    codes = torch.zeros_like(pixels, dtype=torch.uint8)
    for k, (down, right) in enumerate(
        [(0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)]
    ):
        rises = rise(down, right)
        if down and right:
            rises = part**2 * rises + part * (1 - part) * (rise(down, 0) + rise(0, right))
        codes += (rises >= -TIE / 255).to(torch.uint8) << k
    return codes


@lru_cache
def _label_table(directed: bool, device: torch.device) -> Tensor:
    """(256,): the uniform label of each binary pattern."""
    return torch.tensor(
        [_label([code >> k & 1 for k in range(NEIGHBORS)], directed) for code in range(256)],
        device=device,
    )


def _label(bits: list[int], directed: bool) -> int:
    changes = sum(
        bit != following for bit, following in zip(bits, bits[1:] + bits[:1], strict=True)
    )
    if changes > 2:
        return PATTERNS[directed] - 1
    ones = sum(bits)
    if not directed or ones == 0:
        return ones
    if ones == NEIGHBORS:
        return PATTERNS[directed] - 2
    # Arcs of one length are told apart by how far they are turned against the one that ends with the last neighbor.
    turned = ones - bits.index(0) if bits[0] else NEIGHBORS - bits.index(1)
    return 1 + (ones - 1) * NEIGHBORS + turned
