"""The pixels themselves as a descriptor of the whole image."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Pixels:
    """Flattens images: (n, channels, height, width) -> (n, channels * height * width)."""

    def __call__(self, images: Tensor) -> Tensor:
        return images.flatten(1)
