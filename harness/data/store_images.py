"""The pixels of a store: decoded row by row as they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.data.decode import Undecodable, decode, decode_crop
from harness.data.images import ArrayImages
from harness.data.loader import cut_crops
from harness.errors import UserError


class StoreImages:
    """The image column of an Arrow table: raw pixels, or JPEG."""

    def __init__(self, table: Any, folder: Path, *, raw: bool) -> None:
        self.raw = raw
        self.heights = table["height"].to_numpy()
        self.widths = table["width"].to_numpy()
        self._column, self._folder = table["image"], folder
        readable = self.heights > 0
        sizes = np.unique(np.stack([self.heights[readable], self.widths[readable]]), axis=1)
        self.image_size: tuple[int, int] | None = (int(sizes[0, 0]), int(sizes[1, 0])) if sizes.shape[1] == 1 else None

    def __len__(self) -> int:
        return len(self.heights)

    def read(self, rows: np.ndarray) -> torch.Tensor | list[torch.Tensor]:
        images = [self._image(int(row)) for row in rows]
        return torch.stack(images) if self.image_size and images else images

    def read_crops(self, rows: np.ndarray, places: np.ndarray, mirrored: np.ndarray, out: np.ndarray) -> None:
        """Fill `out`, uint8 (n, 3, side, side), with crops of the images at `rows`; `places` (n, 2) in [0, 1) choose (top, left).

        An image smaller than the crop is first scaled up until it just fits. Raises UserError for a damaged store.
        """
        side = out.shape[2]
        for row, place, mirror, crop in zip(rows.tolist(), places, mirrored, out, strict=True):
            if self.raw or min(self.heights[row], self.widths[row]) < side:
                cut_crops([self._image(row)], place[None], mirror[None], 0, crop[None])
                continue
            try:
                decode_crop(self._column[row].as_buffer(), crop, *place.tolist(), mirror=bool(mirror))
            except Undecodable as error:
                raise self._damage(row, error) from error

    def loaded(self) -> ArrayImages:
        """All pixels as one array; rows that could not be decoded are black, and no split points at them."""
        assert self.image_size
        pixels = torch.zeros(len(self), 3, *self.image_size, dtype=torch.uint8)
        for row in np.flatnonzero(self.heights):
            pixels[row] = self._image(int(row))
        return ArrayImages(pixels)

    def _image(self, row: int) -> torch.Tensor:
        if self.raw:  # copied, since torch tensors are writable and the mapped file is not
            return torch.from_numpy(self._raw(row).copy()).permute(2, 0, 1)
        try:
            return decode(self._column[row].as_buffer())
        except Undecodable as error:
            raise self._damage(row, error) from error

    def _raw(self, row: int) -> np.ndarray:
        return np.frombuffer(self._column[row].as_buffer(), dtype=np.uint8).reshape(self.heights[row], self.widths[row], 3)

    def _damage(self, row: int, error: Exception) -> UserError:
        name = self._folder.name
        return UserError(f"the store {name} is damaged at row {row} ({error}); see harness data verify {name}")
