"""The random choices of a training epoch: order, crops and flips, drawn from (seed, epoch)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RandomCrop:
    """A square taken from a random place of each image.

    An image smaller than the square is first scaled up until it just fits.

    Parameters
    ----------
    side : int
        Pixels.
    pad : int
        Zeros added on every side of the image before cropping, in pixels.
    """

    side: int
    pad: int = 0


@dataclass(frozen=True)
class EpochDraws:
    """The random numbers of one epoch over n images.

    Attributes
    ----------
    order : (n,) int
        A permutation: the image at each position of the epoch.
    offsets : (n, 2) float32 in [0, 1)
        Where the crop of each lies, as a fraction of the possible (top, left) offsets.
    flips : (n,) bool
        Whether each is mirrored left to right.
    """

    order: np.ndarray
    offsets: np.ndarray
    flips: np.ndarray

    @classmethod
    def draw(cls, n: int, *, seed: int, epoch: int, flip: bool) -> EpochDraws:
        """Draw the numbers of an epoch; without `flip`, no image is mirrored."""
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(n)
        offsets = rng.random((n, 2), dtype=np.float32)
        return cls(order, offsets, (rng.random(n, dtype=np.float32) < 0.5) & flip)

    def batch(self, positions: slice) -> EpochDraws:
        """Return the numbers at these positions of the epoch."""
        return EpochDraws(self.order[positions], self.offsets[positions], self.flips[positions])


def batch_slices(n: int, size: int, *, start: int, shard: tuple[int, int]) -> list[slice]:
    """Return the positions of this process's share of each batch from batch `start` on.

    Of each batch of `size` images, process r of w gets every w-th one, beginning with the r-th.
    """
    rank, world_size = shard
    return [
        slice(begin + rank, min(begin + size, n), world_size)
        for begin in range(start * size, n, size)
    ]
