"""From images of any size to one working size, in floating point."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def working_size(image_size: tuple[int, int] | None, *, multiple: int, smallest: int, largest: int) -> int:
    """The side in pixels at which images are described when none was asked for.

    The longer side of the images, rounded up to a multiple of `multiple`, between `smallest` and `largest`; `largest` where the
    images differ in size (image_size None).
    """
    longer = largest if image_size is None else max(image_size)
    return min(max(-(-longer // multiple) * multiple, smallest), largest)


def resized(images: Tensor | list[Tensor], size: int) -> Tensor:
    """Float32 (n, 3, size, size) in 0..255 from uint8 (n, 3, height, width) or a list of (3, height, width).

    Bilinear, with the kernel widened when shrinking; the aspect ratio is not kept. Images of that size stay as they are.
    """
    if isinstance(images, list):
        return torch.cat([resized(image[None], size) for image in images])
    pixels = images.float()
    if pixels.shape[-2:] == (size, size):
        return pixels
    return interpolate(pixels, (size, size), mode="bilinear", antialias=True, align_corners=False)
