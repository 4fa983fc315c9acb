"""Arrays of every layout become (n, 3, height, width); two sources are read as one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness import UserError
from harness.data.array_images import ArrayImages, ConcatImages


@pytest.mark.parametrize("shape", [(40, 3, 5, 6), (40, 5, 6, 3), (40, 5, 6)])
def test_color_and_gray_arrays_are_converted(shape: tuple[int, ...]) -> None:
    images = ArrayImages.of(np.zeros(shape, dtype=np.uint8))
    assert images.image_size == (5, 6)
    assert images.read(np.array([3, 1])).shape == (2, 3, 5, 6)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((40, 3, 5, 6), np.float32), "uint8"),
        (np.zeros((40, 2, 5, 6), np.uint8), r"\(40, 2, 5, 6\)"),
    ],
)
def test_other_types_and_shapes_are_refused(images: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ArrayImages.of(images)


@pytest.mark.parametrize("second_size", [(4, 4), (2, 6)])
def test_concatenated_images_are_read_in_the_requested_order(second_size: tuple[int, int]) -> None:
    first = torch.arange(5, dtype=torch.uint8)[:, None, None, None].expand(5, 3, 4, 4)
    second = torch.arange(5, 9, dtype=torch.uint8)[:, None, None, None].expand(4, 3, *second_size)
    images = ConcatImages(ArrayImages.of(first), ArrayImages.of(second))
    assert len(images) == 9
    assert images.image_size == ((4, 4) if second_size == (4, 4) else None)
    read = images.read(np.array([8, 0, 5, 4]))
    assert [int(image[0, 0, 0]) for image in read] == [8, 0, 5, 4]
