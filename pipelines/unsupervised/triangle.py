"""The triangle encoding of image patches (Coates, Lee & Ng, AISTATS 2011, section 3.2), batched."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pipelines.handcrafted.chunks import chunk_size, map_chunks
from pipelines.unsupervised.whitened_patches import Whitening, all_patches, normalize_patches

CHUNK_DISTANCES = 3 * 2**20  # distances at a time: they fit a processor's outer cache


@dataclass(frozen=True)
class TriangleEncoder:
    """How much nearer than the average centroid each centroid is, averaged over image quadrants.

    A patch at distances z_k from the centroids has the responses max(0, mean(z) - z_k), of which
    about half are 0.

    Parameters
    ----------
    whitening
        Of normalized patches.
    centroids : (k, channels * patch * patch)
        In the space of whitened patches.
    patch : pixels
        Side of a patch.
    stride : pixels
        Between patches.
    """

    whitening: Whitening
    centroids: Tensor
    patch: int = 6
    stride: int = 1

    @property
    def length(self) -> int:
        """Number of features."""
        return 4 * len(self.centroids)

    def __call__(self, images: Tensor) -> Tensor:
        """Encode images (n, channels, height, width) in 0 to 255: (n, length)."""
        patches = all_patches(images, self.patch, self.stride)
        distances_per_image = patches.shape[1] * patches.shape[2] * len(self.centroids)
        count = max(1, chunk_size(CHUNK_DISTANCES, images.device) // distances_per_image)
        chunks = patches.split(count)
        return torch.cat(
            map_chunks(lambda chunk: quadrant_means(self.responses(chunk.flatten(3))), chunks)
        )

    def responses(self, patches: Tensor) -> Tensor:
        """Return the responses of patches: (..., channels * patch * patch) -> (..., k).

        Memory passes over the distances dominate the cost, so all but the first are in place.
        """
        points = self.whitening(normalize_patches(patches))
        square_norms = points.square().sum(-1, keepdim=True)
        lifted = torch.cat([points, square_norms, torch.ones_like(points[..., :1])], dim=-1)
        distances = (lifted @ self._lifted_centroids).clamp_(min=0).sqrt_()
        mean = distances.mean(-1, keepdim=True)
        return torch.sub(mean, distances, out=distances).clamp_(min=0)

    @cached_property
    def _lifted_centroids(self) -> Tensor:
        """(channels * patch * patch + 2, k)

        (x, |x|^2, 1) times this is |x|^2 - 2 x.c + |c|^2, the squared distances.
        """
        square_norms = self.centroids.square().sum(1)[None]
        return torch.cat([-2 * self.centroids.T, torch.ones_like(square_norms), square_norms])


def quadrant_means(responses: Tensor) -> Tensor:
    """Average over the quadrants: upper left, upper right, lower left, lower right.

    The paper sums; after standardization both are the same.

    Parameters
    ----------
    responses : (n, rows, columns, k)

    Returns
    -------
    Tensor : (n, 4 * k)
    """
    return half_means(half_means(responses, 2), 1).flatten(1)


def half_means(values: Tensor, axis: int) -> Tensor:
    """Reduce an axis to 2: the means of its first half, the longer one, and of its second.

    The mean of an empty half is 0.
    """
    first = (values.shape[axis] + 1) // 2
    halves = values.split([first, values.shape[axis] - first], axis)
    return torch.stack([half.sum(axis) / max(1, half.shape[axis]) for half in halves], axis)
