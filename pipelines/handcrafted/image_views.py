"""Views of a test image, whose scores are averaged: the image, four shifted copies, and flips."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

# Shift per side length: as far as a corner crop of 224 pixels in 256 is from the center crop.
SHIFT = 1 / 16


def image_views(
    images: Tensor | list[Tensor], count: int, with_flips: bool
) -> Iterator[Tensor | list[Tensor]]:
    """Yield the views of a batch of images.

    Krizhevsky et al. 2012, section 4.1, average over crops at the center and the four corners. A
    network that is trained on crops knows them. Here training sees whole images, and a crop
    enlarged to the size of the image would have a scale of its own, so the image is shifted
    instead and its edge repeated into the uncovered strip.

    Parameters
    ----------
    images : (n, 3, height, width), or a list of n (3, height, width)
    count : 1 or 10
        1 yields the images alone; 10 yields the images and four shifts.
    with_flips
        Follow each of the five views by its flipped copy.
    """
    if count == 1:
        yield images
        return
    for down, right in [(0, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)]:
        view: Tensor | list[Tensor]
        if isinstance(images, Tensor):
            view = shift(images, down, right)
        else:
            view = [shift(image, down, right) for image in images]
        yield view
        if with_flips:
            yield flip(view)


def shift(images: Tensor, down: int, right: int) -> Tensor:
    """Shift (..., height, width) by SHIFT of each side in these directions (-1, 0 or 1)."""
    rows, columns = (
        (torch.arange(side, device=images.device) - sign * round(SHIFT * side)).clamp(0, side - 1)
        for side, sign in zip(images.shape[-2:], (down, right), strict=True)
    )
    return images[..., rows, :][..., columns]


def flip(images: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
    """Flip images left to right."""
    return images.flip(-1) if isinstance(images, Tensor) else [image.flip(-1) for image in images]
