"""The triangle encoding of image patches (Coates, Lee & Ng, AISTATS 2011, section 3.2), batched, on CPU and GPU alike."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pipelines.handcrafted.chunks import at_once, over_chunks
from pipelines.unsupervised.patches import Whitening, normalized, windows

CHUNK_VALUES = 3 * 2**20  # distances at one time: they stay in a processor's outer cache


@dataclass(frozen=True)
class Triangle:
    """How much nearer than to the average centroid each patch is to each of them, pooled over the quadrants of an image.

    A patch at distances z_k from the centroids has the responses max(0, mean(z) - z_k): about half of them are 0.

    whitening  of normalized patches
    centroids  (k, channels * patch * patch) whitened patches
    patch      side of a patch in pixels
    stride     pixels from one patch to the next
    """

    whitening: Whitening
    centroids: Tensor
    patch: int = 6
    stride: int = 1

    @property
    def length(self) -> int:
        return 4 * len(self.centroids)

    def __call__(self, images: Tensor) -> Tensor:
        """(n, channels, height, width) in 0..255 to (n, `length`)."""
        patches = windows(images, self.patch, self.stride)
        values = at_once(CHUNK_VALUES, images.device)
        chunks = patches.split(
            max(1, values // (patches.shape[1] * patches.shape[2] * len(self.centroids)))
        )
        return torch.cat(
            over_chunks(lambda chunk: quadrant_means(self.responses(chunk.flatten(3))), chunks)
        )

    def responses(self, patches: Tensor) -> Tensor:
        """(..., channels * patch * patch) to (..., k). Passes over so many numbers are the cost: all but the first are in place."""
        points = self.whitening(normalized(patches))
        lifted = torch.cat(
            [points, points.square().sum(-1, keepdim=True), torch.ones_like(points[..., :1])],
            dim=-1,
        )
        distances = (lifted @ self._lifted_centroids).clamp_(min=0).sqrt_()
        return torch.sub(distances.mean(-1, keepdim=True), distances, out=distances).clamp_(min=0)

    @cached_property
    def _lifted_centroids(self) -> Tensor:
        """(channels * patch * patch + 2, k): (x, |x|^2, 1) times this is |x|^2 - 2 x.c + |c|^2, the squared distances."""
        squares = self.centroids.square().sum(1)
        return torch.cat([-2 * self.centroids.T, torch.ones_like(squares)[None], squares[None]])


def quadrant_means(responses: Tensor) -> Tensor:
    """(n, rows, columns, k) to (n, 4 k): means over the upper left quadrant, the upper right, the lower left, the lower right.

    The paper has sums. Standardized they are the same.
    """
    return halves(halves(responses, 2), 1).flatten(1)


def halves(values: Tensor, axis: int) -> Tensor:
    """`axis` shrunk to 2: the means of its first half, the longer one, and of its second; the mean of nothing is 0."""
    first = (values.shape[axis] + 1) // 2
    parts = values.split([first, values.shape[axis] - first], axis)
    return torch.stack([part.sum(axis) / max(1, part.shape[axis]) for part in parts], axis)
