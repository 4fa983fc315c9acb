"""Local GIST (Oliva & Torralba, IJCV 2001): energies of Gabor filters in the cells of patches, batched, on CPU and GPU alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from pipelines.handcrafted.descriptors.patches import (
    CELLS,
    Grid,
    Kernel,
    Patches,
    aligned_grids,
    blurred,
    on_grids,
)
from pipelines.handcrafted.descriptors.sift import gray

MARGIN = 32  # pixels of repeated edge around the image, so that what wraps round in the Fourier transform stays outside


@dataclass(frozen=True)
class LocalGist:
    """Mean magnitude of the responses of Gabor filters in a patch's 4 x 4 cells, float32 (n, 3, h, w) in 0..255.

    cells         pixels along a cell, one grid of patches each; the first patches of all grids share their center
    step          pixels between patches
    orientations  filters at each scale, the finest first; center frequencies fall from 0.3 cycles a pixel by factors of 1.85

    What the authors' LMgist.m does to whole images, with the patch in the place of the image: the logarithms of gray values lose what
    varies more slowly than 4 cycles a patch, and are divided by their local deviation. A flat patch is all but the zero vector.
    """

    cells: tuple[int, ...] = (8,)
    step: int = 8
    orientations: tuple[int, ...] = (8, 8, 8, 8)

    @property
    def length(self) -> int:
        return CELLS * CELLS * sum(self.orientations)

    def __call__(self, images: Tensor) -> Patches:
        grids = aligned_grids(images.shape[-2:], self.cells, self.step, Kernel.box)
        return on_grids(images, grids, self.length, self._describe)

    def _describe(self, images: Tensor, grids: list[tuple[Grid, Tensor]]) -> None:
        pixels = gray(images)
        for grid, out in grids:
            grid.sums(gabor_magnitudes(whitened(pixels, grid.cell), self.orientations), out)


def whitened(pixels: Tensor, cell: int) -> Tensor:
    """(n, 1, height, width) in 0..1 to their contrast, as prefilt.m of LMgist takes it: local mean 0, deviation below 1."""
    # This Gaussian halves a wave of 1 / cell cycles a pixel, 4 a patch.
    sigma = cell * math.sqrt(math.log(2) / 2) / math.pi
    levels = torch.log1p(255 * pixels)
    levels -= blurred(levels, sigma)
    deviation = blurred(levels.square(), sigma).clamp_(min=0).sqrt_()
    return levels / (0.2 + deviation)


def gabor_magnitudes(pixels: Tensor, orientations: tuple[int, ...]) -> Tensor:
    """(n, 1, height, width) to (n, filters, height, width), the finest scale first."""
    height, width = pixels.shape[-2:]
    padded = pad(pixels, (MARGIN,) * 4, mode="replicate")
    filters = gabor_filters(orientations, padded.shape[-2], padded.shape[-1], pixels.device)
    responses = torch.fft.ifft2(torch.fft.fft2(padded) * filters)
    return responses[..., MARGIN : MARGIN + height, MARGIN : MARGIN + width].abs()


@lru_cache(maxsize=16)
def gabor_filters(
    orientations: tuple[int, ...], height: int, width: int, device: torch.device
) -> Tensor:
    """(filters, height, width): the real transfer functions of createGabor.m of LMgist, each of one half of the frequencies."""
    down, right = torch.meshgrid(torch.fft.fftfreq(height), torch.fft.fftfreq(width), indexing="ij")
    frequency, direction = torch.hypot(right, down), torch.atan2(down, right)
    filters = []
    for scale, count in enumerate(orientations):
        radial = -10 * 0.35 * (frequency / (0.3 / 1.85**scale) - 1) ** 2
        for k in range(count):
            turn = torch.remainder(direction + math.pi * k / count + math.pi, 2 * math.pi) - math.pi
            filters.append(torch.exp(radial - 2 * math.pi * (16 * count**2 / 32**2) * turn**2))
    return torch.stack(filters).to(device)
