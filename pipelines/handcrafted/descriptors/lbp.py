"""Local binary patterns (Ojala, Pietikainen & Maenpaa, PAMI 2002) of 8 neighbors at distance 1.

They are our own because scikit-image's `local_binary_pattern`, which they equal but for rounding,
takes one image at a time and runs on the CPU only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, pad

from pipelines.handcrafted.descriptors.hog import cell_pixels
from pipelines.handcrafted.descriptors.patch_grids import (
    CELLS,
    GridOutputs,
    Kernel,
    Patches,
    aligned_grids,
    describe_on_grids,
)
from pipelines.handcrafted.descriptors.sift import to_gray

NEIGHBORS = 8
# Of 0 to 255: a neighbor that is darker than the pixel by no more than this counts as equal.
TIE = 1e-4
# (down, right) of the neighbors at k * 45 degrees, anticlockwise from the right.
OFFSETS = [(0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)]


def pattern_count(rotation_invariant: bool) -> int:
    """Return the number of labels that `uniform_patterns` can give."""
    return NEIGHBORS + 2 if rotation_invariant else NEIGHBORS * (NEIGHBORS - 1) + 3


@dataclass(frozen=True)
class LocalPatterns:
    """Histograms of uniform patterns in the 4 x 4 cells of a patch.

    The values are square roots of the patterns' shares of a cell, scaled so that the descriptor
    has unit length. A flat patch shows one pattern and is not the zero vector.

    Parameters
    ----------
    cells : tuple of pixels
        Cell sizes, with one grid of patches each; the grids' first patches share their center.
    step : pixels
        Between patches.
    rotation_invariant
        See `uniform_patterns`.
    """

    cells: tuple[int, ...] = (4, 6, 8, 10)
    step: int = 4
    rotation_invariant: bool = True

    @property
    def length(self) -> int:
        return CELLS * CELLS * pattern_count(self.rotation_invariant)

    def __call__(self, images: Tensor) -> Patches:
        """Describe images (n, 3, h, w) float32 in 0 to 255."""
        grids = aligned_grids(images.shape[-2:], self.cells, self.step, Kernel.box)
        return describe_on_grids(images, grids, self.length, self._write_histograms)

    def _write_histograms(self, images: Tensor, outputs: GridOutputs) -> None:
        labels = uniform_patterns(to_gray(images), self.rotation_invariant)
        patterns = torch.arange(pattern_count(self.rotation_invariant), device=images.device)
        planes = (labels == patterns[:, None, None]).to(images.dtype)
        for grid, out in outputs:
            grid.cell_sums(planes, out)
            out.sqrt_().div_(CELLS)  # the roots of a cell's shares have length 1


@dataclass(frozen=True)
class LbpCells:
    """Histograms of uniform patterns in the cells of the whole image.

    The values are square roots of the patterns' shares of a cell, so that a cell has length 1.

    Parameters
    ----------
    cell : pixels
        Side of a cell; pixels left over at the right and bottom edges are not described.
    rotation_invariant
        See `uniform_patterns`.
    """

    cell: int = 8
    rotation_invariant: bool = False

    def __call__(self, images: Tensor) -> Tensor:
        """Describe images (n, 3, height, width) float32 in 0 to 255: (n, features)."""
        height, width = images.shape[-2:]
        if min(height, width) < self.cell:
            raise ValueError(
                f"LBP needs images of at least {self.cell} pixels per side, got {height} x {width}"
            )
        labels = uniform_patterns(to_gray(images), self.rotation_invariant)[:, 0]
        # A cell is a bag of pixels that look up their pattern's one-hot row.
        one_hot = torch.eye(pattern_count(self.rotation_invariant), device=images.device)
        shares = embedding_bag(cell_pixels(labels, self.cell), one_hot, mode="mean")
        return shares.sqrt_().view(len(images), -1)


def uniform_patterns(pixels: Tensor, rotation_invariant: bool) -> Tensor:
    """Label the pattern of each pixel, as `skimage.feature.local_binary_pattern`(P=8, R=1) does.

    Pixels beyond the edge are black.

    Parameters
    ----------
    pixels : (n, 1, height, width) gray values in 0 to 1
    rotation_invariant
        True is the method "uniform": the label is the number of neighbors that are not darker than
        the pixel, 0 to 8, if they form one arc. False is "nri_uniform": 58 labels for all
        possible arcs. The last label, 9 or 58, is for all other patterns.

    Returns
    -------
    Tensor : (n, 1, height, width) int64
    """
    return _label_table(rotation_invariant, pixels.device)[binary_patterns(pixels).long()]


def binary_patterns(pixels: Tensor) -> Tensor:
    """Return the pattern of each pixel as a byte: (n, 1, h, w) -> (n, 1, h, w) uint8.

    Bit k is set if the neighbor at OFFSETS[k] is not darker. Diagonal neighbors, at distance 1
    too, are interpolated.
    """
    height, width = pixels.shape[-2:]
    padded = pad(pixels, (1, 1, 1, 1))

    def rise(down: int, right: int) -> Tensor:
        return padded[..., 1 + down : 1 + down + height, 1 + right : 1 + right + width] - pixels

    # Fraction of the way to the diagonal pixel in each direction, rounded as in scikit-image.
    fraction = round(math.sqrt(0.5), 5)
    codes = torch.zeros_like(pixels, dtype=torch.uint8)
    for k, (down, right) in enumerate(OFFSETS):
        rises = rise(down, right)
        if down and right:
            straight = rise(down, 0) + rise(0, right)
            rises = fraction**2 * rises + fraction * (1 - fraction) * straight
        codes += (rises >= -TIE / 255).to(torch.uint8) << k
    return codes


@lru_cache
def _label_table(rotation_invariant: bool, device: torch.device) -> Tensor:
    """Return the uniform label of each binary pattern: (256,) int64."""
    codes = [[code >> k & 1 for k in range(NEIGHBORS)] for code in range(2**NEIGHBORS)]
    return torch.tensor([_label(bits, rotation_invariant) for bits in codes], device=device)


def _label(bits: list[int], rotation_invariant: bool) -> int:
    following = bits[1:] + bits[:1]
    changes = sum(bit != neighbor for bit, neighbor in zip(bits, following, strict=True))
    last = pattern_count(rotation_invariant) - 1
    if changes > 2:
        return last
    ones = sum(bits)
    if rotation_invariant or ones == 0:
        return ones
    if ones == NEIGHBORS:
        return last - 1
    # Arcs of one length are numbered by their rotation from the arc that ends at the last neighbor.
    rotation = ones - bits.index(0) if bits[0] else NEIGHBORS - bits.index(1)
    return 1 + (ones - 1) * NEIGHBORS + rotation
