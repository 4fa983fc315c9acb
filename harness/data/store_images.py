"""The pixels of a store: decoded row by row as they are read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.data.array_images import ArrayImages
from harness.data.decode import Undecodable, decode, decode_crop
from harness.data.loader import cut_crops
from harness.data.shards import read_table
from harness.errors import UserError


class StoreImages:
    """The images of some shards, one after the other: raw pixels, or JPEG. A shard is mapped when one of its images is first wanted.

    rows             how many images each shard holds
    heights, widths  of all images, in pixels; height 0 for one that could not be decoded
    """

    def __init__(
        self,
        shards: Sequence[Path],
        rows: Sequence[int],
        heights: np.ndarray,
        widths: np.ndarray,
        *,
        raw: bool,
    ) -> None:
        self.raw, self.heights, self.widths = raw, heights, widths
        self._shards, self._ends = list(shards), list(accumulate(rows))
        self._mapped: dict[int, Any] = {}
        readable = heights > 0
        sizes = np.unique(np.stack([heights[readable], widths[readable]]), axis=1)
        self.image_size: tuple[int, int] | None = (
            (int(sizes[0, 0]), int(sizes[1, 0])) if sizes.shape[1] == 1 else None
        )

    def __len__(self) -> int:
        return len(self.heights)

    def read(self, rows: np.ndarray) -> torch.Tensor | list[torch.Tensor]:
        images = [self._image(int(row)) for row in rows]
        return torch.stack(images) if self.image_size and images else images

    def read_crops(
        self, rows: np.ndarray, places: np.ndarray, mirrored: np.ndarray, out: np.ndarray
    ) -> None:
        """Fill `out`, uint8 (n, 3, side, side), with crops of the images at `rows`; `places` (n, 2) in [0, 1) choose (top, left).

        An image smaller than the crop is first scaled up until it just fits. Raises UserError for a damaged store.
        """
        side = out.shape[2]
        for row, place, mirror, crop in zip(rows.tolist(), places, mirrored, out, strict=True):
            if self.raw or min(self.heights[row], self.widths[row]) < side:
                cut_crops([self._image(row)], place[None], mirror[None], 0, crop[None])
                continue
            try:
                decode_crop(self.stored(row), crop, *place.tolist(), mirror=bool(mirror))
            except Undecodable as error:
                raise self._damage(row, error) from error

    def stored(self, row: int) -> Any:
        """The bytes that the store keeps of an image, as an Arrow buffer. Raises UserError for a damaged store."""
        import pyarrow as pa

        shard = bisect_right(self._ends, row)
        if (
            shard not in self._mapped
        ):  # two threads may both map it, and one mapping is let go again
            try:
                self._mapped[shard] = read_table(self._shards[shard])["image"]
            except (pa.ArrowInvalid, FileNotFoundError) as error:
                raise self._damage(row, error) from error
        return self._mapped[shard][row - self._ends[shard]].as_buffer()

    def _image(self, row: int) -> torch.Tensor:
        if self.raw:  # copied, since torch tensors are writable and the mapped file is not
            return torch.from_numpy(self._raw(row).copy()).permute(2, 0, 1)
        try:
            return decode(self.stored(row))
        except Undecodable as error:
            raise self._damage(row, error) from error

    def _raw(self, row: int) -> np.ndarray:
        return np.frombuffer(self.stored(row), dtype=np.uint8).reshape(
            self.heights[row], self.widths[row], 3
        )

    def _damage(self, row: int, error: Exception) -> UserError:
        name = self._shards[0].parent.name
        return UserError(
            f"the store {name} is damaged at row {row} ({error}); see harness data verify {name}"
        )


class LoadedImages:
    """The same, all of one size, as an array in memory, read when the first is wanted. Rows that could not be decoded are black, and no
    split points at them.
    """

    in_memory = True

    def __init__(self, images: StoreImages) -> None:
        assert images.image_size
        self.image_size: tuple[int, int] | None = images.image_size
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def read(self, rows: np.ndarray) -> torch.Tensor:
        return self._array.read(rows)

    @cached_property
    def _array(self) -> ArrayImages:
        assert self.image_size
        pixels = torch.zeros(len(self), 3, *self.image_size, dtype=torch.uint8)
        for row in np.flatnonzero(self._images.heights):
            pixels[row] = self._images.read(np.array([row]))[0]
        return ArrayImages(pixels)
