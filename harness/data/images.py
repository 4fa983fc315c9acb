"""The protocol for a source of pixels: memory, a store, files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch


class Images(Protocol):
    """Where the pixels of a split come from: memory, a store, files. Read by several threads at once, unless an attribute `in_memory`
    is True: reading is then a copy, and done where the batch is asked for.
    """

    image_size: tuple[int, int] | None
    """(height, width) in pixels where every image has it, else None."""

    def __len__(self) -> int: ...

    def read(self, rows: np.ndarray) -> torch.Tensor | list[torch.Tensor]:
        """The images at `rows`, in that order: uint8 (n, 3, height, width), or a list where sizes differ; from any device."""
        ...
