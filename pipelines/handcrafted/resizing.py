"""Resize images of any size to a working size in floating point, stacked by size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from pipelines.handcrafted.chunks import chunk_size, map_chunks

# Pixels described at a time on a CPU: intermediate results then take some 40 MB. With smaller
# chunks, operations are so short that two threads mostly wait for the interpreter lock.
PIXELS_PER_CHUNK = 2**18
# Shrinking by more than about 90 in both directions makes the antialiasing kernel of
# `interpolate` too large for a GPU.
MAX_SHRINK = 32


def working_size(
    image_size: tuple[int, int] | None, *, multiple: int, smallest: int, largest: int
) -> int:
    """Return the side of the square at which images are described when the user set none.

    Parameters
    ----------
    image_size : (height, width) in pixels, or None
        None where the images differ in size; the result is then `largest`.
    multiple, smallest, largest : pixels
        The longer side is rounded up to a multiple of `multiple` and clipped to this range.
    """
    longer = largest if image_size is None else max(image_size)
    return min(max(-(-longer // multiple) * multiple, smallest), largest)


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return images at another size: bilinear, antialiased when shrinking.

    Parameters
    ----------
    images : (n, 3, height, width) uint8 or float, 0 to 255
    size : (height, width) in pixels

    Returns
    -------
    Tensor : (n, 3, *size) float32, 0 to 255
    """
    pixels = images.float()
    if pixels.shape[-2:] == size:
        return pixels
    if pixels.is_cuda:
        pixels = shrink_by_block_means(pixels, size)
    return interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)


def shrink_by_block_means(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Average blocks of pixels so that the remaining shrink factors are below 2 MAX_SHRINK."""
    factors = [
        max(1, side // (MAX_SHRINK * target))
        for side, target in zip(pixels.shape[-2:], size, strict=True)
    ]
    return pixels if max(factors) == 1 else avg_pool2d(pixels, factors)


def resize_within(images: Tensor, min_side: int, max_height: int) -> Tensor:
    """Return images at the size that `size_within` gives, (n, 3, h, w) float32 in 0 to 255."""
    height, width = images.shape[-2:]
    return resize(images, size_within(height, width, min_side, max_height))


def size_within(height: int, width: int, min_side: int, max_height: int) -> tuple[int, int]:
    """Return the (height, width) of an image scaled to be neither too high nor too small.

    Images taller than `max_height` shrink to that height; images whose longer side is below
    `min_side` grow until it has that length. The aspect ratio is kept, but no side is below 1.
    """
    scale = max(min(1.0, max_height / height), min_side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize_square(images: Tensor | list[Tensor], side: int) -> Tensor:
    """Return images of any sizes as (n, 3, side, side) float32; the aspect ratio is not kept."""
    return map_by_size(images, lambda stack: resize(stack, (side, side)))


def map_by_size(images: Tensor | list[Tensor], function: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a function to stacks of images of one size and return the rows in image order.

    Parameters
    ----------
    images : (n, 3, height, width) uint8, or a list of n (3, height, width)
    function
        Maps a stack (k, 3, height, width) to (k, ...). Stacks are distributed over threads.

    Returns
    -------
    Tensor : (n, ...)
    """
    indices, stacks = stack_by_size(images)
    rows = torch.cat(map_chunks(function, stacks))
    if isinstance(images, Tensor):
        return rows
    return rows[torch.cat(indices).argsort().to(rows.device)]


def stack_by_size(images: Tensor | list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Group images of one size into stacks of at most PIXELS_PER_CHUNK pixels (on a CPU).

    Returns
    -------
    indices : list of (k,) int64
        The indices in `images` of the images in each stack.
    stacks : list of (k, 3, height, width)
    """
    if isinstance(images, Tensor):
        count = _images_per_stack(images)
        return list(torch.arange(len(images)).split(count)), list(images.split(count))
    by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        by_shape[tuple(image.shape)].append(index)
    indices: list[Tensor] = []
    for same_shape in by_shape.values():
        count = _images_per_stack(images[same_shape[0]])
        indices.extend(torch.tensor(same_shape).split(count))
    return indices, [torch.stack([images[index] for index in stack]) for stack in indices]


def _images_per_stack(images: Tensor) -> int:
    """Return how many images (..., height, width) make a chunk; at least one."""
    pixels = chunk_size(PIXELS_PER_CHUNK, images.device)
    return max(1, pixels // (images.shape[-2] * images.shape[-1]))
