"""Augmentation of a batch on its device, and the views of an image at test time.

An augmentation step is a callable (images, noise) -> images on float images (N, 3, side, side). It
takes its random numbers, one row per image, from the noise and has no loop over images.
Krizhevsky et al. 2012, sections 2 and 4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch

from harness.contract import State
from pipelines.learned.batch_noise import BatchNoise

Augmentation = Callable[[torch.Tensor, BatchNoise], torch.Tensor]
ColorScale = Literal["paper", "code"]
MeanCrop = Literal["paper", "code"]


@dataclass(frozen=True)
class PixelStatistics:
    """Statistics of the training pixels, in gray levels (0 to 255).

    Attributes
    ----------
    mean : (3, side, side) float32
        The mean image.
    directions : (3, 3) float32
        Columns are the eigenvectors of the covariance of (R, G, B) over all pixels.
    variances : (3,) float32
        The eigenvalues.
    """

    mean: torch.Tensor
    directions: torch.Tensor
    variances: torch.Tensor

    @classmethod
    def from_sums(cls, sums: torch.Tensor, n: int) -> PixelStatistics:
        """Compute the statistics of `n` images from their `pixel_sums`."""
        side = round(((len(sums) - 9) / 3) ** 0.5)
        mean = (sums[:-9] / n).view(3, side, side)
        color = mean.mean((1, 2))
        covariance = sums[-9:].view(3, 3) / (n * side * side) - color[:, None] * color
        variances, directions = torch.linalg.eigh(covariance)
        return cls(mean.float(), directions.float(), variances.clamp(min=0).float())

    @property
    def side(self) -> int:
        """Pixels per side of the images."""
        return self.mean.shape[-1]

    def state(self) -> State:
        """Return everything that `load` needs."""
        return {
            "pixels.mean": self.mean,
            "pixels.directions": self.directions,
            "pixels.variances": self.variances,
        }

    @classmethod
    def load(cls, state: State) -> PixelStatistics:
        """Restore from a dict that contains what `state` returned."""
        return cls(state["pixels.mean"], state["pixels.directions"], state["pixels.variances"])


def pixel_sums(batches: Iterable[torch.Tensor], side: int, device: torch.device) -> torch.Tensor:
    """Sum images and the products of their color channels.

    Sums of integers below 2^53 are exact in float64, so neither the batches nor the number of
    processes change the result.

    Parameters
    ----------
    batches : iterable of (rows, 3, side, side) uint8
    side : int
    device : torch.device

    Returns
    -------
    (3 * side * side + 9,) float64
        The sum of the images, then the sum of r r^T over all their pixels r = (R, G, B).
    """
    total = torch.zeros(3 * side * side + 9, dtype=torch.float64, device=device)
    for images in batches:
        pixels = images.transpose(0, 1).flatten(1).double()
        image_sum = images.sum(0, dtype=torch.int64).flatten()
        total += torch.cat([image_sum, (pixels @ pixels.T).flatten()])
    return total


@dataclass(frozen=True)
class SubtractMean:
    """Subtracts the mean image from gray levels; the result is float32."""

    mean: torch.Tensor

    def __call__(self, images: torch.Tensor, noise: BatchNoise | None = None) -> torch.Tensor:
        return images - self.mean


@dataclass(frozen=True)
class Scale:
    """Multiplies by a constant."""

    factor: float

    def __call__(self, images: torch.Tensor, noise: BatchNoise | None = None) -> torch.Tensor:
        return images * self.factor


@dataclass(frozen=True)
class CenterCrop:
    """Cuts out the middle `size` x `size` pixels."""

    size: int

    def __call__(self, images: torch.Tensor, noise: BatchNoise | None = None) -> torch.Tensor:
        top, left = ((side - self.size) // 2 for side in images.shape[2:])
        return images[:, :, top : top + self.size, left : left + self.size]


@dataclass(frozen=True)
class RandomCrop:
    """Cuts `size` x `size` pixels out of each image at a random position; channels-last."""

    size: int

    def __call__(self, images: torch.Tensor, noise: BatchNoise) -> torch.Tensor:
        n, _, height, width = images.shape
        offsets = torch.arange(self.size, device=images.device)
        rows = noise.integers(height - self.size + 1, 1) + offsets
        columns = noise.integers(width - self.size + 1, 1) + offsets
        image = torch.arange(n, device=images.device)
        crops = images[image[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        return crops.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class RandomFlip:
    """Flips each image left to right with probability 1/2."""

    def __call__(self, images: torch.Tensor, noise: BatchNoise) -> torch.Tensor:
        is_flipped = noise.uniform(1, 1, 1) < 0.5
        return torch.where(is_flipped, images.flip(3), images)


@dataclass(frozen=True)
class ColorNoise:
    """Adds one random color to all pixels of an image, then divides by `shrink`.

    The color is [p1 p2 p3][a1 s1, a2 s2, a3 s3]^T with the columns p of `directions`, the `sizes` s
    and a ~ N(0, `deviation`^2), drawn once per image and use.

    Attributes
    ----------
    directions : (3, 3) float32
    sizes : (3,) float32
        In gray levels.
    shrink, deviation : float
    """

    directions: torch.Tensor
    sizes: torch.Tensor
    shrink: float = 1.0
    deviation: float = 0.1

    @classmethod
    def from_statistics(cls, pixels: PixelStatistics, scale: ColorScale) -> ColorNoise:
        """Choose the sizes as the paper says or as its author's code does.

        "paper": the eigenvalues of the covariance of pixels in [0, 1] (section 4.1); in gray levels
        the product is 255 times that. "code": the standard deviations, and the noisy image is
        divided by 1.1 (`convdata.py` of cuda-convnet2).
        """
        if scale == "code":
            return cls(pixels.directions, pixels.variances.sqrt(), shrink=1.1)
        return cls(pixels.directions, pixels.variances / 255)

    def __call__(self, images: torch.Tensor, noise: BatchNoise) -> torch.Tensor:
        amounts = self.deviation * noise.normal(3) * self.sizes
        noisy = images + (amounts @ self.directions.T)[:, :, None, None]
        return noisy if self.shrink == 1 else noisy / self.shrink


def view_offsets(side: int, size: int) -> list[tuple[int, int]]:
    """Return (top, left) of the center crop and of the four corner crops, in pixels."""
    far, middle = side - size, (side - size) // 2
    return [(middle, middle), (0, 0), (0, far), (far, 0), (far, far)]


def views(images: torch.Tensor, size: int, *, corners: bool, flips: bool) -> Iterable[torch.Tensor]:
    """Yield the crops of each image that are scored at test time (section 4.1).

    Parameters
    ----------
    images : (N, 3, side, side)
    size : int
        Pixels per side of a crop.
    corners : bool
        Whether the four corner crops follow the center crop.
    flips : bool
        Whether each crop is followed by its flip.

    Yields
    ------
    (N, 3, size, size)
    """
    offsets = view_offsets(images.shape[2], size)
    for top, left in offsets if corners else offsets[:1]:
        crop = images[:, :, top : top + size, left : left + size]
        yield crop
        if flips:
            yield crop.flip(3)
