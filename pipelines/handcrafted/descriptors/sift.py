"""Dense SIFT (Lowe, IJCV 2004) at several sizes, batched, on CPU and GPU alike: VLFeat's `vl_dsift` with its flat window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pipelines.handcrafted.descriptors.patches import (
    CELLS,
    Grid,
    Kernel,
    Patches,
    aligned_grids,
    blurred,
    on_grids,
)

ORIENTATIONS = 8
CLIP = 0.2  # no entry of a descriptor of length 1 counts for more
EPSILON = torch.finfo(
    torch.float32
).eps  # added to a length before it divides, as VLFeat does: a flat patch stays 0
ROUNDING = (
    1e-6  # a contrast below this, of values in 0..1, is that of rounded arithmetic on a flat patch
)
ONE_LEVEL = (
    math.sqrt(3) / 255
)  # the intensity (R + G + B) / sqrt(3) of the darkest gray of 8 bits that is not black


@dataclass(frozen=True)
class DenseSift:
    """SIFT descriptors of the gray image, float32 (n, 3, h, w) in 0..255, on one grid of patches a scale and bin size.

    bins       pixels along a spatial bin; a patch is 4 x 4 bins. The first patches of all bin sizes share their center
    step       pixels between patches
    scales     factors by which the image is resized, to be described with every bin size
    smoothing  the resized image is blurred by a Gaussian with a standard deviation of smoothing * bin pixels; 0: not
    window     standard deviation, in bins, of the Gaussian about the patch's center whose mean over a bin is the bin's weight
    contrast   a patch gets the zero vector if the sum of its weighted gradients (of gray values in 0..1) a pixel is below this
    root       RootSIFT (Arandjelovic & Zisserman, CVPR 2012): the square roots of the entries over their sum

    The defaults are those of `vl_phow`, but for its step of 2. `RECOGNITION` below is its `getDenseSIFT`.
    """

    bins: tuple[int, ...] = (4, 6, 8, 10)
    step: int = 4
    scales: tuple[float, ...] = (1.0,)
    smoothing: float = 1 / 6
    window: float = 1.5
    contrast: float = 0.005
    root: bool = False
    length: ClassVar[int] = CELLS * CELLS * ORIENTATIONS

    def __call__(self, images: Tensor) -> Patches:
        height, width = images.shape[-2:]
        sizes = [(math.ceil(scale * height), math.ceil(scale * width)) for scale in self.scales]
        grids = [
            grid
            for size in sizes
            for grid in aligned_grids(size, self.bins, self.step, Kernel.triangle)
        ]
        return on_grids(images, grids, self.length, self._describe)

    def channels(self, images: Tensor) -> Tensor:
        """(n, 3, height, width) in 0..255 to (n, channels, height, width) in 0..1: each is described by itself."""
        return gray(images)

    def _describe(self, images: Tensor, grids: list[tuple[Grid, Tensor]]) -> None:
        channels = self.channels(images).split(1, dim=1)
        for grid, out in grids:
            for channel, part in zip(channels, out.split(DenseSift.length, dim=-1), strict=True):
                self._describe_channel(channel, grid, part)

    def _describe_channel(self, pixels: Tensor, grid: Grid, out: Tensor) -> None:
        """(n, 1, height, width) to the descriptors of a grid's patches, (n, m, 128)."""
        pixels = bicubic(pixels, (grid.height, grid.width))
        if self.smoothing:
            pixels = blurred(pixels, grid.cell * self.smoothing)
        grid.sums(orientation_planes(pixels), out)
        out *= bin_weights(grid.cell, self.window, out.device)
        extent = (CELLS - 1) * grid.cell + 1
        flat = out.sum(-1, keepdim=True) < max(self.contrast, ROUNDING) * extent**2
        torch.minimum(out, CLIP * torch.linalg.vector_norm(out, dim=-1, keepdim=True), out=out)
        if self.root:
            out.sqrt_()
        scale = torch.linalg.vector_norm(out, dim=-1, keepdim=True).add_(EPSILON).reciprocal_()
        out *= scale.masked_fill_(flat, 0)


# VLFeat's apps/recognition, getDenseSIFT.m with the scales that experiments.m has for Caltech-101
RECOGNITION = DenseSift(
    bins=(8,),
    step=4,
    scales=tuple(2 ** (-k / 2) for k in range(7)),
    smoothing=0.0,
    window=2.0,
    contrast=0.0,
)


@dataclass(frozen=True)
class ColorSift(DenseSift):
    """C-SIFT (van de Sande, Gevers & Snoek, PAMI 2010): SIFT of the intensity and of the opponent colors divided by it.

    Settings as those of DenseSift; a channel without contrast has zeros. The two color channels do not change with the brightness
    of the light.
    """

    length: ClassVar[int] = 3 * DenseSift.length

    def channels(self, images: Tensor) -> Tensor:
        red, green, blue = (images / 255).unbind(1)
        intensity = (red + green + blue) / math.sqrt(3)
        opponents = torch.stack(
            [(red - green) / math.sqrt(2), (red + green - 2 * blue) / math.sqrt(6)], dim=1
        )
        # Intensities up to sqrt(3) come in 0..1 like gray values, for the sake of the threshold on contrast.
        return torch.cat(
            [
                intensity[:, None] / math.sqrt(3),
                opponents / intensity[:, None].clamp(min=ONE_LEVEL),
            ],
            dim=1,
        )


def gray(images: Tensor) -> Tensor:
    """(n, 3, height, width) in 0..255 to (n, 1, height, width) in 0..1, by the weights of MATLAB's rgb2gray (ITU-R BT.601)."""
    red, green, blue = images.split(1, dim=1)
    return (0.2989 / 255 * red).add_(green, alpha=0.5870 / 255).add_(blue, alpha=0.1140 / 255)


def bicubic(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """(n, channels, height, width) to another size, with a wider kernel when shrinking (as MATLAB's imresize)."""
    if pixels.shape[-2:] == size:
        return pixels
    return interpolate(pixels, size, mode="bicubic", antialias=True, align_corners=False)


def gradient(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """(..., height, width) to its derivatives to the right and downward: central differences, one-sided ones at the edges."""
    return _derivative(pixels), _derivative(pixels.mT).mT


def orientation_planes(pixels: Tensor) -> Tensor:
    """(n, 1, height, width) to (n, 8, height, width): each gradient's magnitude, shared between the two nearest of 8 directions.

    Plane k is for gradients at k * 45 degrees from right to down; the shares are linear in the angle.
    """
    right, down = gradient(pixels)
    magnitude = torch.hypot(right, down)
    # Angles and their distances from the 8 directions are in units of 45 degrees, and multiplied by the magnitude.
    angle = (
        torch.atan2(down, right).mul_(ORIENTATIONS / (2 * math.pi)).mul_(magnitude)
    )  # from -4 to 4
    directions = torch.tensor([0.0, 1, 2, 3, 4, -3, -2, -1], device=pixels.device)[:, None, None]
    distance = torch.addcmul(angle, magnitude, directions, value=-1).abs_()
    torch.sub(4 * magnitude, angle.abs(), out=distance[:, 4:5])  # as far from -4 as from 4
    return torch.sub(magnitude, distance, out=distance).relu_()


@lru_cache
def bin_weights(size: int, window: float, device: torch.device) -> Tensor:
    """(128,): for each entry the mean over its bin, of `size` pixels, of a Gaussian of `window` bins about the patch's center."""
    pixels = torch.arange(1 - size, size) / size
    centers = torch.arange(CELLS) - (CELLS - 1) / 2
    means = torch.exp(-0.5 * ((centers[:, None] + pixels) / window) ** 2).mean(1)
    return torch.outer(means, means).flatten().repeat_interleave(ORIENTATIONS).to(device)


def _derivative(pixels: Tensor) -> Tensor:
    """Along the last dimension."""
    out = torch.empty_like(pixels)
    torch.sub(pixels[..., 2:], pixels[..., :-2], out=out[..., 1:-1])
    out[..., 1:-1] *= 0.5
    torch.sub(pixels[..., 1], pixels[..., 0], out=out[..., 0])
    torch.sub(pixels[..., -1], pixels[..., -2], out=out[..., -1])
    return out
