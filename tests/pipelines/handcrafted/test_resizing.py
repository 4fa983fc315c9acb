from __future__ import annotations

import pytest
import torch

from pipelines.handcrafted.resizing import (
    map_by_size,
    resize,
    resize_square,
    resize_within,
    shrink_by_block_means,
    stack_by_size,
    working_size,
)


@pytest.mark.parametrize(
    ("image_size", "side"),
    [
        ((32, 32), 32),
        ((28, 28), 32),
        ((40, 20), 40),
        ((33, 33), 40),
        ((300, 200), 128),
        ((8, 8), 32),
        (None, 128),
    ],
)
def test_the_working_size_is_the_longer_side_rounded_up_within_a_range(
    image_size: tuple[int, int] | None, side: int
) -> None:
    assert working_size(image_size, multiple=8, smallest=32, largest=128) == side


def test_images_of_the_working_size_stay_as_they_are() -> None:
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    assert torch.equal(resize(images, (16, 16)), images.float())


def test_very_large_images_are_first_shrunk_by_block_means() -> None:
    """As `resize` does on a GPU; on a CPU it interpolates in one step."""
    image = torch.randint(
        0, 256, (1, 1, 4000, 3000), generator=torch.Generator().manual_seed(0)
    ).float()
    assert torch.equal(shrink_by_block_means(image, (100, 100)), image)
    smaller = shrink_by_block_means(image, (32, 32))
    assert smaller.shape == (1, 1, 4000 // 3, 3000 // 2)
    torch.testing.assert_close(resize(smaller, (32, 32)), resize(image, (32, 32)), atol=2.0, rtol=0)


def test_rows_of_images_of_several_sizes_are_in_image_order() -> None:
    sizes = [(1, 1), (300, 40), (1, 1), (16, 16)]
    images = [torch.full((3, *size), value, dtype=torch.uint8) for value, size in enumerate(sizes)]
    stack_sizes = []

    def mean_color(stack: torch.Tensor) -> torch.Tensor:
        stack_sizes.append(len(stack))
        return resize(stack, (16, 16)).mean((1, 2, 3))[:, None]

    torch.testing.assert_close(
        map_by_size(images, mean_color), torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    )
    assert sorted(stack_sizes) == [1, 1, 2]


@pytest.mark.parametrize(
    ("size", "scaled"),
    [
        ((1, 1), (64, 64)),
        ((100, 64), (100, 64)),
        ((3000, 4000), (480, 640)),
        ((4000, 2), (480, 1)),
        ((32, 16), (64, 32)),
    ],
)
def test_high_images_are_shrunk_and_small_ones_enlarged(
    size: tuple[int, int], scaled: tuple[int, int]
) -> None:
    assert resize_within(torch.zeros(1, 3, *size, dtype=torch.uint8), 64, 480).shape == (
        1,
        3,
        *scaled,
    )


def test_shrinking_averages_pixels() -> None:
    """A checkerboard becomes gray, neither black nor white."""
    board = (torch.arange(64)[:, None] + torch.arange(64)) % 2 * 254
    out = resize(board.to(torch.uint8).expand(1, 3, 64, 64), (8, 8))
    torch.testing.assert_close(out, torch.full((1, 3, 8, 8), 127.0), atol=4, rtol=0)


def test_stacks_hold_images_of_one_size_and_at_most_a_chunk_of_pixels() -> None:
    images = [torch.zeros(3, side, side) for side in (300, 8, 300, 8, 300)]
    indices, stacks = stack_by_size(images)
    assert [index.tolist() for index in indices] == [[0, 2], [4], [1, 3]]
    assert [stack.shape for stack in stacks] == [
        (2, 3, 300, 300),
        (1, 3, 300, 300),
        (2, 3, 8, 8),
    ]


def test_a_square_does_not_keep_the_aspect_ratio() -> None:
    images = [torch.zeros(3, 4, 20), torch.zeros(3, 30, 2)]
    assert resize_square(images, 16).shape == (2, 3, 16, 16)
