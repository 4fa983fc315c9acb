"""Augmentation of a batch on its device, without a loop over images, and the views of an image at test time.

A step is a callable (images, noise) -> images on float images (N, 3, side, side); `noise` yields one row of random numbers an image.
Krizhevsky et al. 2012, sections 2 and 4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch

from harness.contract import State
from pipelines.learned.noise import BatchNoise

Augmentation = Callable[[torch.Tensor, BatchNoise], torch.Tensor]
ColorScale = Literal["paper", "code"]


@dataclass(frozen=True)
class PixelStatistics:
    """What the training pixels look like, in units of the gray level (0 to 255), all float32.

    mean         (3, side, side), the mean image
    directions   (3, 3), its columns the eigenvectors of the covariance of (R, G, B) over all pixels
    variances    (3,), the eigenvalues
    """

    mean: torch.Tensor
    directions: torch.Tensor
    variances: torch.Tensor

    @classmethod
    def of(cls, sums: torch.Tensor, n: int) -> PixelStatistics:
        """From the `pixel_sums` of `n` images."""
        side = round(((len(sums) - 9) / 3) ** 0.5)
        mean = (sums[:-9] / n).view(3, side, side)
        color = mean.mean((1, 2))
        covariance = sums[-9:].view(3, 3) / (n * side * side) - color[:, None] * color
        variances, directions = torch.linalg.eigh(covariance)
        return cls(mean.float(), directions.float(), variances.clamp(min=0).float())

    @property
    def side(self) -> int:
        return self.mean.shape[-1]

    def state(self) -> State:
        return {
            "pixels.mean": self.mean,
            "pixels.directions": self.directions,
            "pixels.variances": self.variances,
        }

    @classmethod
    def load(cls, state: State) -> PixelStatistics:
        return cls(state["pixels.mean"], state["pixels.directions"], state["pixels.variances"])


def pixel_sums(batches: Iterable[torch.Tensor], side: int, device: torch.device) -> torch.Tensor:
    """(3 * side * side + 9,) float64: the sum of uint8 images (rows, 3, side, side), then that of r r^T over all their pixels r = (R, G, B).

    Sums of integers below 2^53 are exact in float64, so that neither the batches nor the number of processes change the result.
    """
    total = torch.zeros(3 * side * side + 9, dtype=torch.float64, device=device)
    for images in batches:
        pixels = images.transpose(0, 1).flatten(1).double()
        total += torch.cat(
            [images.sum(0, dtype=torch.int64).flatten(), (pixels @ pixels.T).flatten()]
        )
    return total


@dataclass(frozen=True)
class Center:
    """Gray levels less the mean image, as float32."""

    mean: torch.Tensor

    def __call__(self, images: torch.Tensor, noise: BatchNoise | None = None) -> torch.Tensor:
        return images - self.mean


@dataclass(frozen=True)
class Scale:
    """Times a number."""

    factor: float

    def __call__(self, images: torch.Tensor, noise: BatchNoise | None = None) -> torch.Tensor:
        return images * self.factor


@dataclass(frozen=True)
class CenterCrop:
    """The middle `size` x `size` pixels."""

    size: int

    def __call__(self, images: torch.Tensor, noise: BatchNoise | None = None) -> torch.Tensor:
        top, left = ((side - self.size) // 2 for side in images.shape[2:])
        return images[:, :, top : top + self.size, left : left + self.size]


@dataclass(frozen=True)
class RandomCrop:
    """`size` x `size` pixels from a place of each image's own; the result is channels-last in memory."""

    size: int

    def __call__(self, images: torch.Tensor, noise: BatchNoise) -> torch.Tensor:
        n, _, height, width = images.shape
        along = torch.arange(self.size, device=images.device)
        rows = noise.integers(height - self.size + 1, 1) + along
        columns = noise.integers(width - self.size + 1, 1) + along
        image = torch.arange(n, device=images.device)
        return images[image[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(
            0, 3, 1, 2
        )


@dataclass(frozen=True)
class RandomFlip:
    """Each image mirrored left to right with probability 1/2."""

    def __call__(self, images: torch.Tensor, noise: BatchNoise) -> torch.Tensor:
        mirrored = noise.uniform(1, 1, 1) < 0.5
        return torch.where(mirrored, images.flip(3), images)


@dataclass(frozen=True)
class ColorNoise:
    """Adds [p1 p2 p3][a1 s1, a2 s2, a3 s3]^T to all pixels of an image, a ~ N(0, 0.1) drawn once an image and use, then divides by `shrink`."""

    directions: torch.Tensor
    sizes: torch.Tensor  # s1 to s3, in gray levels
    shrink: float = 1.0
    deviation: float = 0.1

    @classmethod
    def of(cls, pixels: PixelStatistics, scale: ColorScale) -> ColorNoise:
        """paper: s are the eigenvalues of the covariance of pixels in [0, 1] (section 4.1); in gray levels the product is 255 times that.
        code: s are the standard deviations, and the noisy image is divided by 1.1 (`convdata.py` of cuda-convnet2).
        """
        if scale == "code":
            return cls(pixels.directions, pixels.variances.sqrt(), shrink=1.1)
        return cls(pixels.directions, pixels.variances / 255)

    def __call__(self, images: torch.Tensor, noise: BatchNoise) -> torch.Tensor:
        amounts = self.deviation * noise.normal(3) * self.sizes
        noisy = images + (amounts @ self.directions.T)[:, :, None, None]
        return noisy if self.shrink == 1 else noisy / self.shrink


def view_offsets(side: int, size: int) -> list[tuple[int, int]]:
    """(top, left) of the center and the four corner crops."""
    far, middle = side - size, (side - size) // 2
    return [(middle, middle), (0, 0), (0, far), (far, 0), (far, far)]


def views(
    images: torch.Tensor, size: int, *, corners: bool, mirrored: bool
) -> Iterable[torch.Tensor]:
    """The crops (N, 3, size, size) of each image that are scored at test time, each followed by its mirror image if asked (section 4.1)."""
    offsets = view_offsets(images.shape[2], size)
    for top, left in offsets if corners else offsets[:1]:
        crop = images[:, :, top : top + size, left : left + size]
        yield crop
        if mirrored:
            yield crop.flip(3)
