"""What all local descriptors share: patches on grids, and sums of pixels over their 4 x 4 cells.

A local descriptor computes planes (such as gradient magnitudes per orientation) of an image, sums
them over the cells of each patch with `Grid.cell_sums`, and normalizes the sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Protocol

import torch
from torch import Tensor

from pipelines.handcrafted.chunks import chunk_size, map_chunks
from pipelines.handcrafted.resizing import PIXELS_PER_CHUNK

CELLS = 4  # along the side of a patch
# Sums per matrix product on a CPU: a matrix cut from a band this small has few zeros, and the
# product is still worth a call.
BAND_ROWS = 16


@dataclass(frozen=True)
class Patches:
    """Descriptors of patches on a grid that is the same for n images of one size.

    Parameters
    ----------
    descriptors : (n, m, d) float32
    positions : (m, 2) float32
        x and y of the patch's center, in units of the image's width and height, less 0.5.
    """

    descriptors: Tensor
    positions: Tensor


class LocalDescriptor(Protocol):
    """A descriptor of patches on a dense grid.

    It must be a frozen dataclass: its fields identify its results in the cache.
    """

    @property
    def length(self) -> int:
        """Number of values in a descriptor."""
        ...

    def __call__(self, images: Tensor) -> Patches:
        """Describe images (n, 3, h, w) float32 in 0 to 255.

        An image that is too small for a patch has m = 0 patches. Descriptors of gradients have the
        zero vector for a patch without contrast.
        """
        ...


@dataclass(frozen=True)
class Kernel:
    """The weights of the pixels of a cell, along one side.

    Parameters
    ----------
    taps
        `taps[i]` is the weight of the pixel at the cell's anchor - `lead` + i. Pixels beyond the
        edge of the image repeat the edge.
    lead : pixels
    reach : pixels
        From the anchor to the last pixel that must lie within the image.
    """

    taps: tuple[float, ...]
    lead: int
    reach: int

    @classmethod
    def box(cls, cell: int) -> Kernel:
        """Return the mean of `cell` pixels from the anchor on, all within the image."""
        return cls((1 / cell,) * cell, 0, cell - 1)

    @classmethod
    def triangle(cls, cell: int) -> Kernel:
        """Return bilinear interpolation between cells whose anchors are their centers.

        The weight falls from 1 at the anchor to 0 at `cell` pixels to each side.
        """
        return cls(tuple(1 - abs(x) / cell for x in range(1 - cell, cell)), cell - 1, 0)

    @classmethod
    def gaussian(cls, sigma: float) -> Kernel:
        """Return a Gaussian cut at 4 standard deviations, with sum 1."""
        radius = math.ceil(4 * sigma)
        taps = [math.exp(-0.5 * (x / sigma) ** 2) for x in range(-radius, radius + 1)]
        return cls(tuple(tap / sum(taps) for tap in taps), radius, 0)


@dataclass(frozen=True)
class GridSide:
    """The patches along one side of an image.

    Parameters
    ----------
    length : pixels
        Of the image's side.
    cell : pixels
        Between the anchors of a patch's cells.
    step : pixels
        Between patches.
    first : pixel
        Anchor of the first patch's first cell.
    reach : pixels
        See `Kernel`.
    """

    length: int
    cell: int
    step: int
    first: int
    reach: int

    @property
    def count(self) -> int:
        """Number of patches."""
        last_anchor = self.length - 1 - self.reach - (CELLS - 1) * self.cell
        return max(0, (last_anchor - self.first) // self.step + 1)

    def centers(self) -> Tensor:
        """Return the patches' centers in units of the side, less 0.5: (count,) float64."""
        first_center = self.first + ((CELLS - 1) * self.cell + self.reach) / 2
        pixels = first_center + self.step * torch.arange(self.count, dtype=torch.float64)
        return (pixels + 0.5) / self.length - 0.5


@dataclass(frozen=True)
class Grid:
    """Patches of 4 x 4 cells over images of one size.

    Parameters
    ----------
    height, width : pixels
        Of the images.
    cell : pixels
        Between the anchors of a patch's cells.
    step : pixels
        Between patches.
    first : pixel
        Row and column of the anchor of the first patch's first cell.
    kernel
        Weights of a cell's pixels.
    """

    height: int
    width: int
    cell: int
    step: int
    first: int
    kernel: Kernel

    @property
    def vertical(self) -> GridSide:
        return GridSide(self.height, self.cell, self.step, self.first, self.kernel.reach)

    @property
    def horizontal(self) -> GridSide:
        return GridSide(self.width, self.cell, self.step, self.first, self.kernel.reach)

    def __len__(self) -> int:
        """Return the number of patches."""
        return self.vertical.count * self.horizontal.count

    def positions(self) -> Tensor:
        """Return the positions (m, 2) as in `Patches`, row by row."""
        y, x = self.vertical.centers(), self.horizontal.centers()
        return torch.stack([x.repeat(len(y)), y.repeat_interleave(len(x))], dim=1).float()

    def cell_sums(self, planes: Tensor, out: Tensor) -> None:
        """Write the weighted sum of each plane over each cell of each patch.

        Parameters
        ----------
        planes : (n, d, height, width)
        out : (n, m, 16 * d)
            Receives the cells row by row, with the planes of a cell side by side.
        """
        rows, columns = self.vertical.count, self.horizontal.count
        n, d = planes.shape[:2]
        # All cells lie on a lattice of this pitch. Each lattice point is summed once, for all
        # patches that have a cell there.
        pitch = math.gcd(self.cell, self.step)
        cell_stride, patch_stride = self.cell // pitch, self.step // pitch  # in lattice points
        lattice_rows, lattice_columns = (
            (CELLS - 1) * cell_stride + (count - 1) * patch_stride + 1 for count in (rows, columns)
        )
        lattice_columns += -lattice_columns % cell_stride
        sums = sum_along_height(planes, self.kernel, self.first, pitch, lattice_rows)
        sums = sum_along_width(sums, self.kernel, self.first, pitch, lattice_columns)
        # The lattice's columns are ordered by phase, so that the 4 cells of a row of a patch are
        # adjacent, each with all its planes.
        by_phase = sums.view(n, d, lattice_rows, lattice_columns // cell_stride, cell_stride)
        lattice = by_phase.permute(0, 2, 4, 3, 1).flatten(3)
        window = (CELLS - 1) * cell_stride + 1
        cells_down = lattice.unfold(1, window, patch_stride)[..., ::cell_stride]
        patches = out.view(n, rows, columns, CELLS, CELLS * d)
        for start in range(min(cell_stride, columns)):
            first, phase = divmod(start * patch_stride, cell_stride)
            targets = patches[:, :, start::cell_stride]
            cells = cells_down[:, :, phase].unfold(2, CELLS * d, d)[:, :, first::patch_stride]
            targets.copy_(cells[:, :, : targets.shape[2]])


def aligned_grids(
    size: Sequence[int], cells: Sequence[int], step: int, kernel: Callable[[int], Kernel]
) -> list[Grid]:
    """Return one grid per cell size, over images of this (height, width).

    The first patches of all grids share their center, to half a pixel where cell sizes are even
    and odd.
    """
    extents = [(CELLS - 1) * cell + kernel(cell).reach for cell in cells]
    return [
        Grid(size[0], size[1], cell, step, (max(extents) - extent) // 2, kernel(cell))
        for cell, extent in zip(cells, extents, strict=True)
    ]


GridOutputs = list[tuple[Grid, Tensor]]


def describe_on_grids(
    images: Tensor,
    grids: Sequence[Grid],
    length: int,
    write: Callable[[Tensor, GridOutputs], None],
) -> Patches:
    """Return the patches of all grids, one grid after the other.

    Parameters
    ----------
    images : (n, 3, height, width)
    grids
    length
        Values per descriptor.
    write
        Called in threads with some of the images, and with pairs of a grid that has patches and
        the tensor (images, m, length) to write its descriptors to.
    """
    ends = list(accumulate(map(len, grids), initial=0))
    descriptors = images.new_empty(len(images), ends[-1], length)

    def write_chunk(chunk: Tensor, out: Tensor) -> None:
        outputs = [
            (grid, out[:, start:end])
            for grid, (start, end) in zip(grids, pairwise(ends), strict=True)
            if start < end
        ]
        write(chunk, outputs)

    count = 1
    if len(images):
        count = max(1, chunk_size(PIXELS_PER_CHUNK, images.device) // images[0, 0].numel())
    map_chunks(write_chunk, images.split(count), descriptors.split(count))
    positions = torch.cat([grid.positions() for grid in grids])
    return Patches(descriptors, positions.to(images.device))


def gaussian_blur(pixels: Tensor, sigma: float) -> Tensor:
    """Blur (n, channels, height, width) by a Gaussian of this standard deviation in pixels.

    Pixels beyond an edge repeat the edge.
    """
    kernel, (height, width) = Kernel.gaussian(sigma), pixels.shape[-2:]
    return sum_along_width(sum_along_height(pixels, kernel, 0, 1, height), kernel, 0, 1, width)


def sum_along_height(planes: Tensor, kernel: Kernel, first: int, step: int, count: int) -> Tensor:
    """Return the kernel's sums at rows first, first + step, ...: (n, d, h, w) -> (n, d, count, w).

    It is a product with a banded matrix, which is faster than a strided convolution.
    """
    out = planes.new_empty(*planes.shape[:2], count, planes.shape[3])
    inputs, sums = planes.flatten(0, 1), out.flatten(0, 1)
    for rows, pixels, matrix in _band(kernel, first, step, count, planes.shape[2], planes.device):
        torch.bmm(matrix.expand(len(inputs), -1, -1), inputs[:, pixels], out=sums[:, rows])
    return out


def sum_along_width(planes: Tensor, kernel: Kernel, first: int, step: int, count: int) -> Tensor:
    """Return the kernel's sums at columns first, first + step, ...: (n, d, h, w) -> (..., count).

    It is a product with a banded matrix, as in `sum_along_height`.
    """
    out = planes.new_empty(*planes.shape[:3], count)
    inputs, sums = planes.flatten(0, 2), out.flatten(0, 2)
    for columns, pixels, matrix in _band(
        kernel, first, step, count, planes.shape[3], planes.device
    ):
        torch.mm(inputs[:, pixels], matrix.t(), out=sums[:, columns])
    return out


@lru_cache(maxsize=4096)  # images of many sizes at several scales
def _band(
    kernel: Kernel, first: int, step: int, count: int, length: int, device: torch.device
) -> list[tuple[slice, slice, Tensor]]:
    """Return the sums along a side of `length` pixels as products with small matrices.

    Returns
    -------
    list of (sums, pixels, matrix)
        Which sums are the product of which pixels with the matrix (sums, pixels).
    """
    taps = torch.tensor(kernel.taps)
    blocks, size = [], chunk_size(BAND_ROWS, device)
    for start in range(0, count, size):
        sums = torch.arange(start, min(start + size, count))
        pixels = first + step * sums[:, None] - kernel.lead + torch.arange(len(taps))
        pixels.clamp_(0, length - 1)
        low, high = int(pixels.min()), int(pixels.max())
        matrix = torch.zeros(len(sums), high - low + 1)
        matrix.scatter_add_(1, pixels - low, taps.expand(len(sums), -1))
        blocks.append((slice(start, start + len(sums)), slice(low, high + 1), matrix.to(device)))
    return blocks
