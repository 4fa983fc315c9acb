"""The protocol of a source of pixels: arrays in memory, a prepared dataset, files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch


class Images(Protocol):
    """Random access to the pixels of a split.

    Several threads read at once. An object whose attribute `in_memory` is True is read by the
    caller's thread instead, since reading it is only a copy.
    """

    image_size: tuple[int, int] | None
    """(height, width) in pixels if all images share it, else None."""

    def __len__(self) -> int: ...

    def read(self, rows: np.ndarray) -> torch.Tensor | list[torch.Tensor]:
        """Read the images at `rows`, in that order.

        Returns
        -------
        images : (n, 3, height, width) uint8, or a list of (3, height, width) if sizes differ
            On the CPU or any other device.
        """
        ...
