"""Square images of one size, made from a split with images of any size."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.transforms.v2 import functional as tv

from harness.contract import Split

MAX_RESIDENT_BYTES = 1 << 30  # pixels that may stay in the device's memory


def to_squares(images: torch.Tensor | list[torch.Tensor], side: int) -> torch.Tensor:
    """Resize the shorter side and cut out the middle (Krizhevsky et al. 2012, section 2).

    Images of one size are resized together, others one by one.

    Parameters
    ----------
    images : (N, 3, H, W) uint8, or list of (3, H, W) uint8
    side : int
        Pixels per side.

    Returns
    -------
    (N, 3, side, side) uint8
    """
    if isinstance(images, list):
        squares = np.empty((len(images), 3, side, side), dtype=np.uint8)
        for image, out in zip(images, squares, strict=True):
            # numpy copies in this thread; torch would divide 200 kB among all cores.
            out[:] = to_squares(image[None], side)[0].cpu().numpy()
        return torch.from_numpy(squares)
    if images.shape[2:] == (side, side):
        return images
    height, width = images.shape[2:]
    scale = side / min(height, width)
    size = [max(side, round(height * scale)), max(side, round(width * scale))]
    resized = tv.resize(images, size, tv.InterpolationMode.BILINEAR, antialias=True)
    return tv.center_crop(resized, [side, side])


def resident_bytes(n: int, side: int) -> int:
    """Return the memory that `n` squares take, or 0 if they do not stay in memory."""
    size = n * 3 * side * side
    return size if size <= MAX_RESIDENT_BYTES else 0


def square_split(
    split: Split, side: int, device: torch.device, *, total: int | None = None
) -> Split:
    """Return the split with each image as a square.

    Every process keeps all squares on the device if they fit; otherwise they are made again each
    time that they are read.

    Parameters
    ----------
    split : Split
    side : int
        Pixels per side.
    device : torch.device
    total : int, optional
        Number of images that the split is a sample of: it stays in memory if all of those would.
    """
    squares = _with_images(split, SquareImages(split, side))
    if not resident_bytes(total or len(split), side):
        return squares
    batches = squares.sharded(0, 1).batches(256, device=device)
    pixels = torch.cat([batch.images for batch in batches])  # type: ignore[misc]
    return _with_images(split, ResidentImages(pixels))


class SquareImages:
    """`Images` that are made square as they are read."""

    def __init__(self, split: Split, side: int) -> None:
        self.image_size: tuple[int, int] | None = (side, side)
        self._images, self._rows = split.images, split.rows

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, rows: np.ndarray) -> torch.Tensor:
        assert self.image_size
        return to_squares(self._images.read(self._rows[rows]), self.image_size[0])


class ResidentImages:
    """`Images` whose pixels, (n, 3, side, side) uint8, are in the memory of a device."""

    in_memory = True

    def __init__(self, pixels: torch.Tensor) -> None:
        self.image_size: tuple[int, int] | None = (pixels.shape[2], pixels.shape[3])
        self._pixels = pixels

    def __len__(self) -> int:
        return len(self._pixels)

    def read(self, rows: np.ndarray) -> torch.Tensor:
        # Non-blocking, so that the host does not wait for earlier steps.
        return self._pixels[torch.from_numpy(rows).to(self._pixels.device, non_blocking=True)]


def _with_images(split: Split, images: SquareImages | ResidentImages) -> Split:
    squares = Split(
        keys=split.keys,
        labels=split.labels,
        class_names=split.class_names,
        images=images,
        preparation=split.preparation,
    )
    return squares.sharded(*split.shard)
