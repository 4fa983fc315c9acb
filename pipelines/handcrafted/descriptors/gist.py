"""Local GIST (Oliva & Torralba, IJCV 2001): Gabor energies in the cells of patches, batched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from pipelines.handcrafted.descriptors.patch_grids import (
    CELLS,
    GridOutputs,
    Kernel,
    Patches,
    aligned_grids,
    describe_on_grids,
    gaussian_blur,
)
from pipelines.handcrafted.descriptors.sift import to_gray

# Pixels of repeated edge around the image, so that the wrap-around of the Fourier transform stays
# outside of it.
MARGIN = 32


@dataclass(frozen=True)
class LocalGist:
    """Mean magnitude of the responses of Gabor filters in the 4 x 4 cells of a patch.

    This is what the authors' LMgist.m does to whole images, applied to patches: the logarithms of
    gray values are high-pass filtered at 4 cycles per patch and divided by their local deviation.
    A flat patch is almost the zero vector.

    Parameters
    ----------
    cells : tuple of pixels
        Cell sizes, with one grid of patches each; the grids' first patches share their center.
    step : pixels
        Between patches.
    orientations
        Filters at each scale, the finest first. Center frequencies decrease from 0.3 cycles per
        pixel by factors of 1.85.
    """

    cells: tuple[int, ...] = (8,)
    step: int = 8
    orientations: tuple[int, ...] = (8, 8, 8, 8)

    @property
    def length(self) -> int:
        return CELLS * CELLS * sum(self.orientations)

    def __call__(self, images: Tensor) -> Patches:
        """Describe images (n, 3, h, w) float32 in 0 to 255."""
        grids = aligned_grids(images.shape[-2:], self.cells, self.step, Kernel.box)
        return describe_on_grids(images, grids, self.length, self._write_energies)

    def _write_energies(self, images: Tensor, outputs: GridOutputs) -> None:
        pixels = to_gray(images)
        for grid, out in outputs:
            contrasts = normalize_contrast(pixels, grid.cell)
            grid.cell_sums(gabor_magnitudes(contrasts, self.orientations), out)


def normalize_contrast(pixels: Tensor, cell: int) -> Tensor:
    """Return the local contrast of gray values, as prefilt.m of LMgist computes it.

    Parameters
    ----------
    pixels : (n, 1, height, width) in 0 to 1
    cell : pixels
        A quarter of a patch.

    Returns
    -------
    Tensor : (n, 1, height, width)
        With local mean 0 and local deviation below 1.
    """
    # This Gaussian halves a wave of 1 / cell cycles per pixel, which is 4 per patch.
    sigma = cell * math.sqrt(math.log(2) / 2) / math.pi
    levels = torch.log1p(255 * pixels)
    levels -= gaussian_blur(levels, sigma)
    deviation = gaussian_blur(levels.square(), sigma).clamp_(min=0).sqrt_()
    return levels / (0.2 + deviation)


def gabor_magnitudes(pixels: Tensor, orientations: tuple[int, ...]) -> Tensor:
    """Return the magnitudes of the filters' responses: (n, 1, h, w) -> (n, filters, h, w)."""
    height, width = pixels.shape[-2:]
    padded = pad(pixels, (MARGIN,) * 4, mode="replicate")
    filters = gabor_filters(orientations, padded.shape[-2], padded.shape[-1], pixels.device)
    responses = torch.fft.ifft2(torch.fft.fft2(padded) * filters)
    return responses[..., MARGIN : MARGIN + height, MARGIN : MARGIN + width].abs()


@lru_cache(maxsize=16)
def gabor_filters(
    orientations: tuple[int, ...], height: int, width: int, device: torch.device
) -> Tensor:
    """Return the transfer functions of createGabor.m of LMgist: (filters, height, width).

    They are real, the finest scale comes first, and each covers one half of the frequencies.
    """
    down, right = torch.meshgrid(torch.fft.fftfreq(height), torch.fft.fftfreq(width), indexing="ij")
    frequency, direction = torch.hypot(right, down), torch.atan2(down, right)
    filters = []
    for scale, count in enumerate(orientations):
        radial = -10 * 0.35 * (frequency / (0.3 / 1.85**scale) - 1) ** 2
        for k in range(count):
            turn = torch.remainder(direction + math.pi * k / count + math.pi, 2 * math.pi) - math.pi
            filters.append(torch.exp(radial - 2 * math.pi * (16 * count**2 / 32**2) * turn**2))
    return torch.stack(filters).to(device)
