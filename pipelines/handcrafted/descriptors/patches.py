"""What local descriptors share: the type that they return, and the summing of pixels into the 4 x 4 cells of patches on a grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Protocol

import torch
from torch import Tensor

from pipelines.handcrafted.chunks import at_once, over_chunks
from pipelines.handcrafted.images import PIXELS

CELLS = 4  # along the side of a patch
BLOCK = 16  # sums of one matrix product: its matrix, cut from a band, has few zeros, and the product is still worth a call


@dataclass(frozen=True)
class Patches:
    """Descriptors of patches on a grid that is the same for n images of one size.

    values     (n, m, d) float32; of gradients, a patch without contrast has the zero vector
    positions  (m, 2) float32: x and y of the patch's center, in units of the image's width and height, less 0.5
    """

    values: Tensor
    positions: Tensor


class LocalDescriptor(Protocol):
    """Float32 (n, 3, h, w) in 0..255 to `Patches` of `length` values each. A frozen dataclass: its fields name its results in the cache.

    An image too small for a patch gives m = 0 patches.
    """

    @property
    def length(self) -> int: ...

    def __call__(self, images: Tensor) -> Patches: ...


@dataclass(frozen=True)
class Kernel:
    """How a cell weighs the pixels along a side: `taps[i]` for the pixel i - `lead` from the cell's own; past the edge it repeats.

    reach  pixels from the cell's own to the last one that must lie within the image
    """

    taps: tuple[float, ...]
    lead: int
    reach: int

    @classmethod
    def box(cls, cell: int) -> Kernel:
        """The mean of `cell` pixels from the cell's own on, all within the image."""
        return cls((1 / cell,) * cell, 0, cell - 1)

    @classmethod
    def triangle(cls, cell: int) -> Kernel:
        """1 at the cell's own pixel, its center, falling to 0 at `cell` pixels to each side: bilinear interpolation between cells."""
        return cls(tuple(1 - abs(x) / cell for x in range(1 - cell, cell)), cell - 1, 0)

    @classmethod
    def gaussian(cls, sigma: float) -> Kernel:
        """A Gaussian cut at 4 standard deviations, the sum of its taps 1."""
        radius = math.ceil(4 * sigma)
        taps = [math.exp(-0.5 * (x / sigma) ** 2) for x in range(-radius, radius + 1)]
        return cls(tuple(tap / sum(taps) for tap in taps), radius, 0)


@dataclass(frozen=True)
class Side:
    """Patches along one side of an image of `length` pixels: cells `cell` pixels apart, patches `step` pixels apart from `first` on."""

    length: int
    cell: int
    step: int
    first: int
    reach: int

    @property
    def count(self) -> int:
        return max(
            0,
            (self.length - 1 - self.reach - (CELLS - 1) * self.cell - self.first) // self.step + 1,
        )

    def centers(self) -> Tensor:
        """(count,) float64: the middles of the patches, in units of the image's side, less 0.5."""
        pixels = (
            self.first
            + ((CELLS - 1) * self.cell + self.reach) / 2
            + self.step * torch.arange(self.count, dtype=torch.float64)
        )
        return (pixels + 0.5) / self.length - 0.5


@dataclass(frozen=True)
class Grid:
    """Patches of 4 x 4 cells over images of one size; rows and columns of the grid are alike.

    first  row and column of the first patch's first cell (of its own pixel: `Kernel`)
    """

    height: int
    width: int
    cell: int
    step: int
    first: int
    kernel: Kernel

    @property
    def rows(self) -> Side:
        return Side(self.height, self.cell, self.step, self.first, self.kernel.reach)

    @property
    def columns(self) -> Side:
        return Side(self.width, self.cell, self.step, self.first, self.kernel.reach)

    def __len__(self) -> int:
        return self.rows.count * self.columns.count

    def positions(self) -> Tensor:
        """(m, 2) as `Patches` has them, row by row."""
        y, x = self.rows.centers(), self.columns.centers()
        return torch.stack([x.repeat(len(y)), y.repeat_interleave(len(x))], dim=1).float()

    def sums(self, planes: Tensor, out: Tensor) -> None:
        """The weighted sum of each plane over each cell of each patch.

        planes  (n, planes, height, width)
        out     (n, m, 16 * planes), written: cells row by row, the planes of a cell side by side
        """
        rows, columns = self.rows.count, self.columns.count
        n, d = planes.shape[:2]
        # All cells lie on a lattice of this pitch. Each point of it is summed once, for all the patches that have a cell there.
        pitch = math.gcd(self.cell, self.step)
        apart, stride = (
            self.cell // pitch,
            self.step // pitch,
        )  # lattice points between the cells of a patch, between patches
        down, across = ((CELLS - 1) * apart + (count - 1) * stride + 1 for count in (rows, columns))
        across += -across % apart
        summed = along_width(
            along_height(planes, self.kernel, self.first, pitch, down),
            self.kernel,
            self.first,
            pitch,
            across,
        )
        # Columns of the lattice go by phase, so that the 4 cells of a row of a patch lie side by side, each with all its planes.
        lattice = summed.view(n, d, down, across // apart, apart).permute(0, 2, 4, 3, 1).flatten(3)
        cells_down = lattice.unfold(1, (CELLS - 1) * apart + 1, stride)[..., ::apart]
        patches = out.view(n, rows, columns, CELLS, CELLS * d)
        for start in range(min(apart, columns)):
            first, phase = divmod(start * stride, apart)
            some = patches[:, :, start::apart]
            cells = cells_down[:, :, phase].unfold(2, CELLS * d, d)[:, :, first::stride]
            some.copy_(cells[:, :, : some.shape[2]])


def aligned_grids(
    size: Sequence[int], cells: Sequence[int], step: int, kernel: Callable[[int], Kernel]
) -> list[Grid]:
    """One grid a size of cells, over images of this height and width.

    The first patches of all share their center, to half a pixel where sizes are even and odd.
    """
    extents = [(CELLS - 1) * cell + kernel(cell).reach for cell in cells]
    return [
        Grid(size[0], size[1], cell, step, (max(extents) - extent) // 2, kernel(cell))
        for cell, extent in zip(cells, extents, strict=True)
    ]


def on_grids(
    images: Tensor,
    grids: Sequence[Grid],
    length: int,
    write: Callable[[Tensor, list[tuple[Grid, Tensor]]], None],
) -> Patches:
    """The patches of all grids, one grid after the other, with `length` values each.

    images  (n, 3, height, width)
    write   gets some of the images with the grids that have patches, and for each the tensor (some, m, length) to write the values into
    """
    ends = list(accumulate(map(len, grids), initial=0))
    values = images.new_empty(len(images), ends[-1], length)
    chunk = max(1, at_once(PIXELS, images.device) // images[0, 0].numel()) if len(images) else 1

    def write_some(some: Tensor, out: Tensor) -> None:
        write(
            some,
            [
                (grid, out[:, start:end])
                for grid, (start, end) in zip(grids, pairwise(ends), strict=True)
                if start < end
            ],
        )

    over_chunks(write_some, images.split(chunk), values.split(chunk))
    return Patches(values, torch.cat([grid.positions() for grid in grids]).to(images.device))


def blurred(pixels: Tensor, sigma: float) -> Tensor:
    """(n, channels, height, width) after a Gaussian with this standard deviation in pixels; what lies past an edge is as the edge."""
    kernel, (height, width) = Kernel.gaussian(sigma), pixels.shape[-2:]
    return along_width(along_height(pixels, kernel, 0, 1, height), kernel, 0, 1, width)


def along_height(planes: Tensor, kernel: Kernel, first: int, step: int, count: int) -> Tensor:
    """(n, planes, height, width) to (n, planes, count, width): the kernel's sums about rows first, first + step, ..."""
    out = planes.new_empty(*planes.shape[:2], count, planes.shape[3])
    inputs, sums = planes.flatten(0, 1), out.flatten(0, 1)
    for wanted, needed, matrix in _band(kernel, first, step, count, planes.shape[2], planes.device):
        torch.bmm(matrix.expand(len(inputs), -1, -1), inputs[:, needed], out=sums[:, wanted])
    return out


def along_width(planes: Tensor, kernel: Kernel, first: int, step: int, count: int) -> Tensor:
    """(n, planes, height, width) to (n, planes, height, count): the kernel's sums about columns first, first + step, ..."""
    out = planes.new_empty(*planes.shape[:3], count)
    inputs, sums = planes.flatten(0, 2), out.flatten(0, 2)
    for wanted, needed, matrix in _band(kernel, first, step, count, planes.shape[3], planes.device):
        torch.mm(inputs[:, needed], matrix.t(), out=sums[:, wanted])
    return out


@lru_cache(maxsize=4096)  # images of many sizes at several scales
def _band(
    kernel: Kernel, first: int, step: int, count: int, length: int, device: torch.device
) -> list[tuple[slice, slice, Tensor]]:
    """The sums along a side of `length` pixels as products with small matrices: which sums, of which pixels, by which matrix."""
    taps = torch.tensor(kernel.taps)
    blocks, size = [], at_once(BLOCK, device)
    for start in range(0, count, size):
        wanted = torch.arange(start, min(start + size, count))
        pixels = (first + step * wanted[:, None] - kernel.lead + torch.arange(len(taps))).clamp_(
            0, length - 1
        )
        lowest, highest = int(pixels.min()), int(pixels.max())
        matrix = torch.zeros(len(wanted), highest - lowest + 1).scatter_add_(
            1, pixels - lowest, taps.expand(len(wanted), -1)
        )
        blocks.append(
            (slice(start, start + len(wanted)), slice(lowest, highest + 1), matrix.to(device))
        )
    return blocks
