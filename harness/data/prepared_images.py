"""The pixels of a prepared dataset, decoded image by image as they are read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.commands import harness_command
from harness.data.array_images import ArrayImages
from harness.data.arrow_shards import DamagedShard, read_table
from harness.data.decode import Undecodable, decode, decode_crop
from harness.data.loader import copy_crops
from harness.errors import UserError


class PreparedImages:
    """The images of a part's shards. Each shard is memory-mapped when one of its images is read.

    Parameters
    ----------
    shards : sequence of Path
    rows_per_shard : sequence of int
    heights, widths : (n,) int
        Of all images, in pixels; height 0 for one that could not be decoded.
    raw : bool
        Whether images are stored as raw pixels; else as JPEG.
    """

    def __init__(
        self,
        shards: Sequence[Path],
        rows_per_shard: Sequence[int],
        heights: np.ndarray,
        widths: np.ndarray,
        *,
        raw: bool,
    ) -> None:
        self.raw, self.heights, self.widths = raw, heights, widths
        self._shards, self._ends = list(shards), list(accumulate(rows_per_shard))
        self._mapped: dict[int, Any] = {}
        readable = heights > 0
        sizes = np.unique(np.stack([heights[readable], widths[readable]]), axis=1)
        self.image_size: tuple[int, int] | None = None
        if sizes.shape[1] == 1:
            self.image_size = (int(sizes[0, 0]), int(sizes[1, 0]))

    def __len__(self) -> int:
        return len(self.heights)

    def read(self, rows: np.ndarray) -> torch.Tensor | list[torch.Tensor]:
        images = [self._image(int(row)) for row in rows]
        return torch.stack(images) if self.image_size and images else images

    def read_crops(
        self, rows: np.ndarray, offsets: np.ndarray, flips: np.ndarray, out: np.ndarray
    ) -> None:
        """Read one crop of each image, without decoding into a full array first.

        Parameters
        ----------
        rows : (n,) int
        offsets : (n, 2) float in [0, 1)
            Position of each crop, as a fraction of the possible (top, left) offsets.
        flips : (n,) bool
            Whether to mirror each crop left to right.
        out : (n, 3, side, side) uint8
            Filled with the crops. An image smaller than that is first scaled up until it just fits.

        Raises
        ------
        UserError
            If the prepared dataset is damaged.
        """
        side = out.shape[2]
        for row, offset, flip, crop in zip(rows.tolist(), offsets, flips, out, strict=True):
            if self.raw or min(self.heights[row], self.widths[row]) < side:
                copy_crops([self._image(row)], offset[None], flip[None], 0, crop[None])
                continue
            try:
                decode_crop(self.stored_bytes(row), crop, *offset.tolist(), flip=bool(flip))
            except (Undecodable, ValueError, IndexError) as error:
                raise self._damaged(row, error) from error

    def stored_bytes(self, row: int) -> Any:
        """Return the bytes stored for an image, as an Arrow buffer.

        Raises
        ------
        UserError
            If the prepared dataset is damaged.
        """
        shard = bisect_right(self._ends, row)
        if shard not in self._mapped:  # two threads may both map it; one mapping is then dropped
            try:
                self._mapped[shard] = read_table(self._shards[shard])["image"]
            except DamagedShard as error:
                raise self._damaged(row, error) from error
        return self._mapped[shard][row - self._ends[shard]].as_buffer()

    def _image(self, row: int) -> torch.Tensor:
        if self.raw:  # copied, because torch tensors are writable and the mapped file is not
            return torch.from_numpy(self._raw_pixels(row).copy()).permute(2, 0, 1)
        try:
            image = decode(self.stored_bytes(row))
        except Undecodable as error:
            raise self._damaged(row, error) from error
        if image.shape[1:] != (self.heights[row], self.widths[row]):
            raise self._damaged(row, "it has another size than its row says")
        return image

    def _raw_pixels(self, row: int) -> np.ndarray:
        pixels = np.frombuffer(self.stored_bytes(row), dtype=np.uint8)
        try:
            return pixels.reshape(self.heights[row], self.widths[row], 3)
        except ValueError as error:
            raise self._damaged(row, "it has another size than its row says") from error

    def _damaged(self, row: int, error: object) -> UserError:
        name = self._shards[0].parent.name
        return UserError(
            f"the prepared dataset {name} is damaged at row {row} ({error}); "
            f"see {harness_command('data', 'verify', name)}"
        )


class LoadedImages:
    """The same images, all of one size, read into memory when the first of them is read.

    Images that could not be decoded are black here; no row of a split points at them.
    """

    in_memory = True

    def __init__(self, images: PreparedImages) -> None:
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
