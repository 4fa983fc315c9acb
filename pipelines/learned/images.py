"""Square images of one size from a split, whatever the sizes in it."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.transforms.v2 import functional as tv

from harness.contract import Images, Split

RESIDENT_BYTES = 1 << 30  # pixels kept in the device's memory at most


def square(images: torch.Tensor | list[torch.Tensor], side: int) -> torch.Tensor:
    """uint8 (N, 3, side, side): the shorter side resized to `side`, the middle square cut out (Krizhevsky et al. 2012, section 2).

    Images (N, 3, H, W) are resized together, images of several sizes one by one.
    """
    if isinstance(images, list):
        squares = np.empty((len(images), 3, side, side), dtype=np.uint8)
        for image, out in zip(images, squares, strict=True):
            out[:] = (
                square(image[None], side)[0].cpu().numpy()
            )  # numpy copies in this thread; torch would share 200 kB out over all cores
        return torch.from_numpy(squares)
    if images.shape[2:] == (side, side):
        return images
    height, width = images.shape[2:]
    scale = side / min(height, width)
    size = [max(side, round(height * scale)), max(side, round(width * scale))]
    return tv.center_crop(
        tv.resize(images, size, tv.InterpolationMode.BILINEAR, antialias=True), [side, side]
    )


def resident_bytes(n: int, side: int) -> int:
    """What `n` squares take in memory; 0 where that is too much and they are made again each time."""
    size = n * 3 * side * side
    return size if size <= RESIDENT_BYTES else 0


def squares(split: Split, side: int, device: torch.device, *, of: int | None = None) -> Split:
    """The same images, each as a square; all of them kept on `device`, on every process, where they fit, else made anew each time.
    `of`: they are a sample of so many, and are kept if those would be.
    """
    made = _with_images(split, Squares(split, side))
    if not resident_bytes(of or len(split), side):
        return made
    whole = made.sharded(0, 1).batches(256, device=device)
    return _with_images(split, Resident(torch.cat([batch.images for batch in whole])))  # type: ignore[misc]


class Squares:
    """`contract.Images`: squares made as they are read."""

    def __init__(self, split: Split, side: int) -> None:
        self.image_size: tuple[int, int] | None = (side, side)
        self._images, self._rows = split.images, split.rows

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, rows: np.ndarray) -> torch.Tensor:
        assert self.image_size
        return square(self._images.read(self._rows[rows]), self.image_size[0])


class Resident:
    """`contract.Images`: pixels, uint8 (n, 3, side, side), on a device."""

    in_memory = True

    def __init__(self, pixels: torch.Tensor) -> None:
        self.image_size: tuple[int, int] | None = (pixels.shape[2], pixels.shape[3])
        self._pixels = pixels

    def __len__(self) -> int:
        return len(self._pixels)

    def read(self, rows: np.ndarray) -> torch.Tensor:
        return self._pixels[
            torch.from_numpy(rows).to(self._pixels.device, non_blocking=True)
        ]  # the host waits for no step before


def _with_images(split: Split, images: Images) -> Split:
    return Split(
        keys=split.keys,
        labels=split.labels,
        class_names=split.class_names,
        images=images,
        preparation=split.preparation,
        shard=split.shard,
    )
