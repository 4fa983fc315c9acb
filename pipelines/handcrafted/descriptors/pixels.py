"""The pixels themselves."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Pixels:
    """Float (n, channels, height, width) to (n, channels * height * width): the floor of the hand-crafted side."""

    def __call__(self, images: Tensor) -> Tensor:
        return images.flatten(1)
