"""Where pixels come from: arrays in memory, or two such places one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from harness.data.images import Images
from harness.errors import UserError


class ArrayImages:
    """Images of one size in memory: uint8 (n, 3, height, width)."""

    in_memory = True

    def __init__(self, pixels: torch.Tensor) -> None:
        self.pixels = pixels
        self.image_size: tuple[int, int] | None = (pixels.shape[2], pixels.shape[3])

    @classmethod
    def of(cls, images: np.ndarray | torch.Tensor) -> ArrayImages:
        """From (n, 3, h, w), (n, h, w, 3) or gray (n, h, w) uint8; raises UserError for anything else."""
        pixels = (
            images
            if isinstance(images, torch.Tensor)
            else torch.from_numpy(np.ascontiguousarray(images))
        )
        if pixels.dtype != torch.uint8:
            raise UserError(f"images must be uint8 in 0..255, got {pixels.dtype}")
        if pixels.ndim == 3:
            pixels = pixels[:, None].expand(-1, 3, -1, -1)
        elif pixels.ndim == 4 and pixels.shape[1] != 3 and pixels.shape[3] == 3:
            pixels = pixels.permute(0, 3, 1, 2)
        if pixels.ndim != 4 or pixels.shape[1] != 3:
            raise UserError(
                f"images must be (n, 3, h, w), (n, h, w, 3) or gray (n, h, w), got {tuple(images.shape)}"
            )
        return cls(pixels.contiguous().cpu())

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, rows: np.ndarray) -> torch.Tensor:
        # numpy copies whole images; torch would share 3 kB each out over threads, which costs more than the copy
        return torch.from_numpy(self.pixels.numpy()[np.asarray(rows)])

    def sources(self) -> Iterator[bytes]:
        """The bytes that keys are taken from: the shape, then the raw values."""
        shape = f"{tuple(self.pixels.shape[1:])} ".encode()
        return (shape + image.tobytes() for image in self.pixels.numpy())


class ConcatImages:
    """The images of `first`, then those of `second`."""

    def __init__(self, first: Images, second: Images) -> None:
        self.parts = (first, second)
        self.image_size = first.image_size if first.image_size == second.image_size else None
        self.in_memory = all(getattr(part, "in_memory", False) for part in self.parts)

    def __len__(self) -> int:
        return len(self.parts[0]) + len(self.parts[1])

    def read(self, rows: np.ndarray) -> torch.Tensor | list[torch.Tensor]:
        rows = np.asarray(rows)
        in_first = rows < len(self.parts[0])
        places = np.concatenate([np.flatnonzero(in_first), np.flatnonzero(~in_first)])
        images = [
            *self.parts[0].read(rows[in_first]),
            *self.parts[1].read(rows[~in_first] - len(self.parts[0])),
        ]
        ordered = [images[i] for i in np.argsort(places)]
        return torch.stack(ordered) if self.image_size else ordered
