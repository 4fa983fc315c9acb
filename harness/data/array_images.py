"""Images held in arrays, and the concatenation of two sources of images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from harness.data.images import Images
from harness.errors import UserError


class ArrayImages:
    """Images of one size in memory.

    Parameters
    ----------
    pixels : (n, 3, height, width) uint8, on the CPU
    """

    in_memory = True

    def __init__(self, pixels: torch.Tensor) -> None:
        self.pixels = pixels
        self.image_size: tuple[int, int] | None = (pixels.shape[2], pixels.shape[3])

    @classmethod
    def of(cls, images: np.ndarray | torch.Tensor) -> ArrayImages:
        """Convert an array of color or gray images.

        Parameters
        ----------
        images : (n, 3, height, width), (n, height, width, 3) or gray (n, height, width) uint8

        Raises
        ------
        UserError
            If the shape or the type is another one.
        """
        if isinstance(images, torch.Tensor):
            pixels = images
        else:
            pixels = torch.from_numpy(np.ascontiguousarray(images))
        if pixels.dtype != torch.uint8:
            raise UserError(f"images must be uint8 in 0..255, got {pixels.dtype}")
        if pixels.ndim == 3:
            pixels = pixels[:, None].expand(-1, 3, -1, -1)
        elif pixels.ndim == 4 and pixels.shape[1] != 3 and pixels.shape[3] == 3:
            pixels = pixels.permute(0, 3, 1, 2)
        if pixels.ndim != 4 or pixels.shape[1] != 3:
            raise UserError(
                "images must be (n, 3, h, w), (n, h, w, 3) or gray (n, h, w), "
                f"got {tuple(images.shape)}"
            )
        return cls(pixels.contiguous().cpu())

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, rows: np.ndarray) -> torch.Tensor:
        # numpy, because torch splits even 3 kB images over threads, which costs more than the copy
        return torch.from_numpy(self.pixels.numpy()[np.asarray(rows)])

    def source_bytes(self) -> Iterator[bytes]:
        """Yield the bytes that each image's key is a hash of: its shape, then its raw values."""
        shape = f"{tuple(self.pixels.shape[1:])} ".encode()
        return (shape + image.tobytes() for image in self.pixels.numpy())


class ConcatImages:
    """The images of `first`, followed by those of `second`."""

    def __init__(self, first: Images, second: Images) -> None:
        self.first, self.second = first, second
        self.image_size = first.image_size if first.image_size == second.image_size else None
        self.in_memory = all(getattr(images, "in_memory", False) for images in (first, second))

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def read(self, rows: np.ndarray) -> torch.Tensor | list[torch.Tensor]:
        rows = np.asarray(rows)
        in_first = rows < len(self.first)
        images = [
            *self.first.read(rows[in_first]),
            *self.second.read(rows[~in_first] - len(self.first)),
        ]
        positions = np.concatenate([np.flatnonzero(in_first), np.flatnonzero(~in_first)])
        ordered = [images[i] for i in np.argsort(positions)]
        return torch.stack(ordered) if self.image_size else ordered
