"""From images of any size to floating point at a working size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from pipelines.handcrafted.chunks import at_once, over_chunks

# Described at a time on a CPU: what is computed on the way then takes some forty megabytes. With less, a thread's operations are so short that
# two threads mostly wait for each other's turn at the interpreter.
PIXELS = 2**18
MOST_SHRUNK = 32  # beyond some 90 in both directions a GPU has no room for the kernel that `interpolate` widens
SHIFT = (
    1 / 16
)  # of each side, between a view and the image: as between the middle and a corner of 224 pixels in 256


def working_size(
    image_size: tuple[int, int] | None, *, multiple: int, smallest: int, largest: int
) -> int:
    """The side in pixels at which images are described when none was asked for.

    The longer side of the images, rounded up to a multiple of `multiple`, between `smallest` and `largest`; `largest` where the
    images differ in size (image_size None).
    """
    longer = largest if image_size is None else max(image_size)
    return min(max(-(-longer // multiple) * multiple, smallest), largest)


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Float32 (n, 3, *size) in 0..255 from (n, 3, height, width), uint8 or float.

    Bilinear, with the kernel widened when shrinking. Images of that size stay as they are.
    """
    pixels = images.float()
    if pixels.shape[-2:] == size:
        return pixels
    if pixels.is_cuda:
        pixels = coarser(pixels, size)
    return interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)


def coarser(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Means of blocks of pixels where a side is twice MOST_SHRUNK times as long as wanted or more; then it is less than that."""
    factors = [
        max(1, side // (MOST_SHRUNK * wanted))
        for side, wanted in zip(pixels.shape[-2:], size, strict=True)
    ]
    return pixels if max(factors) == 1 else avg_pool2d(pixels, factors)


def within(images: Tensor, smallest: int, highest: int) -> Tensor:
    """Float32 images (n, 3, height, width) in 0..255: higher ones shrunk to a height of `highest` pixels, small ones enlarged
    until the longer side has `smallest`. The aspect ratio is kept, but no side becomes less than a pixel.
    """
    return resized(images, size_within(images.shape[-2], images.shape[-1], smallest, highest))


def size_within(height: int, width: int, smallest: int, highest: int) -> tuple[int, int]:
    """The height and width that `within` gives an image."""
    scale = max(min(1.0, highest / height), smallest / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def by_size(images: Tensor | list[Tensor], describe: Callable[[Tensor], Tensor]) -> Tensor:
    """(n, features) from `describe`, which takes uint8 (n, 3, height, width): images of several sizes go through it size by size.

    Stacks are shared out among threads: one is described by one thread from beginning to end.
    """
    places, same = stacks(images)
    rows = torch.cat(over_chunks(describe, same))
    return rows if isinstance(images, Tensor) else rows[torch.cat(places).argsort().to(rows.device)]


def stacks(images: Tensor | list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Images of one size together, as many as are described at a time: the places of those of each stack, and the stacks (n, 3, height, width)."""
    if isinstance(images, Tensor):
        together = _together(images)
        return list(torch.arange(len(images)).split(together)), list(images.split(together))
    by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, image in enumerate(images):
        by_shape[tuple(image.shape)].append(place)
    groups = [torch.tensor(same) for same in by_shape.values()]
    places = [part for same in groups for part in same.split(_together(images[int(same[0])]))]
    return places, [torch.stack([images[place] for place in part]) for part in places]


def squares(images: Tensor | list[Tensor], side: int) -> Tensor:
    """Float32 (n, 3, side, side) in 0..255 from images of any sizes; the aspect ratio is not kept."""
    return by_size(images, lambda same: resized(same, (side, side)))


def views(
    images: Tensor | list[Tensor], count: int, mirrored_too: bool
) -> Iterator[Tensor | list[Tensor]]:
    """1: the images. 10: these, shifted towards none and towards each of the four corners, each followed by its mirror image if wanted.

    Krizhevsky et al. 2012, section 4.1, cut the corners out. A network that is trained on such cuts knows them; here training sees
    whole images, and cuts enlarged to the whole would show everything at a scale of its own. What a shift uncovers is as the edge.
    """
    if count == 1:
        yield images
        return
    for down, right in [(0, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)]:
        moved: Tensor | list[Tensor] = (
            shifted(images, down, right)
            if isinstance(images, Tensor)
            else [shifted(image, down, right) for image in images]
        )
        yield moved
        if mirrored_too:
            yield mirrored(moved)


def shifted(images: Tensor, down: int, right: int) -> Tensor:
    """(..., height, width) moved by SHIFT of the sides in these directions (-1, 0 or 1)."""
    rows, columns = (
        (torch.arange(side, device=images.device) - way * round(SHIFT * side)).clamp(0, side - 1)
        for side, way in zip(images.shape[-2:], (down, right), strict=True)
    )
    return images[..., rows, :][..., columns]


def mirrored(images: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
    """Left and right exchanged."""
    return images.flip(-1) if isinstance(images, Tensor) else [image.flip(-1) for image in images]


def _together(images: Tensor) -> int:
    """How many images of the size of these (..., height, width) have the pixels that are described at a time; at least one."""
    return max(1, at_once(PIXELS, images.device) // (images.shape[-2] * images.shape[-1]))
