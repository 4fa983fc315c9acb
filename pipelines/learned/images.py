"""Square images of one size from a split, whatever the sizes in it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torchvision.transforms.v2 import functional as tv

from harness.contract import Split

RESIDENT_BYTES = 1 << 30  # pixels kept in the device's memory at most


def square(images: torch.Tensor | list[torch.Tensor], side: int) -> torch.Tensor:
    """uint8 (N, 3, side, side): the shorter side resized to `side`, the middle square cut out (Krizhevsky et al. 2012, section 2).

    Images (N, 3, H, W) are resized together, images of several sizes one by one.
    """
    if isinstance(images, list):
        return (
            torch.cat([square(image[None], side) for image in images])
            if images
            else torch.empty(0, 3, side, side, dtype=torch.uint8)
        )
    if images.shape[2:] == (side, side):
        return images
    height, width = images.shape[2:]
    scale = side / min(height, width)
    size = [max(side, round(height * scale)), max(side, round(width * scale))]
    return tv.center_crop(tv.resize(images, size, tv.InterpolationMode.BILINEAR, antialias=True), [side, side])


class Squares:
    """The images of a split as uint8 (rows, 3, side, side), any of them on any process; kept in memory where they fit."""

    def __init__(self, split: Split, side: int, device: torch.device) -> None:
        self.whole = split.sharded(0, 1)  # which images this process takes of a batch is for the training loop to say
        self.side, self.device = side, device
        self.labels = torch.from_numpy(split.labels).to(device)
        self._resident: torch.Tensor | None = None
        if len(split) * 3 * side * side <= RESIDENT_BYTES:
            self._resident = torch.cat([images for images, _ in self._stream(256, np.arange(len(split)))])

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int, order: np.ndarray) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(images, labels) of the positions `order`, `size` at a time."""
        if self._resident is None:
            yield from self._stream(size, order)
            return
        for index in torch.from_numpy(order).to(self.device).split(size):
            yield self._resident[index], self.labels[index]

    def _stream(self, size: int, order: np.ndarray) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for batch in self.whole.batches(size, device=self.device, order=order):
            yield square(batch.images, self.side), self.labels[batch.index]
