from __future__ import annotations

import pytest
import torch
from pipelines.handcrafted.images import by_size, coarser, resized, views, within, working_size


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
def test_working_size(image_size: tuple[int, int] | None, side: int) -> None:
    assert working_size(image_size, multiple=8, min_side=32, largest=128) == side


def test_images_of_the_working_size_stay_as_they_are() -> None:
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    assert torch.equal(resized(images, (16, 16)), images.float())


def test_what_is_far_too_large_is_brought_near_by_means() -> None:
    """As on a GPU; elsewhere `resized` does without."""
    image = torch.randint(
        0, 256, (1, 3, 4000, 3000), generator=torch.Generator().manual_seed(0)
    ).float()
    assert torch.equal(coarser(image, (100, 100)), image)
    near = coarser(image, (32, 32))
    assert near.shape == (1, 3, 4000 // 3, 3000 // 2)
    torch.testing.assert_close(resized(near, (32, 32)), resized(image, (32, 32)), atol=2.0, rtol=0)


def test_images_of_several_sizes_keep_their_order() -> None:
    sizes = [(1, 1), (300, 40), (1, 1), (16, 16)]
    images = [torch.full((3, *size), value, dtype=torch.uint8) for value, size in enumerate(sizes)]
    calls = []

    def describe(same: torch.Tensor) -> torch.Tensor:
        calls.append(len(same))
        return resized(same, (16, 16)).mean((1, 2, 3))[:, None]

    torch.testing.assert_close(
        by_size(images, describe), torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    )
    assert sorted(calls) == [1, 1, 2]


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
    assert within(torch.zeros(1, 3, *size, dtype=torch.uint8), 64, 480).shape == (1, 3, *scaled)


def test_without_mirrored_ones_there_are_five_views() -> None:
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    assert all(
        torch.equal(a, b)
        for a, b in zip(views(images, 10, False), list(views(images, 10, True))[::2], strict=True)
    )


def test_ten_views_are_the_image_and_four_shifts_and_their_mirror_images() -> None:
    images = torch.arange(2 * 3 * 16 * 32).reshape(2, 3, 16, 32)
    ten = list(views(images, 10, True))
    assert torch.equal(torch.as_tensor(ten[0]), images)
    padded = torch.nn.functional.pad(images.float(), (2, 2, 1, 1), mode="replicate").long()
    for number, (top, left) in enumerate([(2, 4), (2, 0), (0, 4), (0, 0)], start=1):
        assert torch.equal(
            torch.as_tensor(ten[2 * number]), padded[..., top : top + 16, left : left + 32]
        )
    for plain, mirror in zip(ten[::2], ten[1::2], strict=True):
        assert torch.equal(torch.as_tensor(mirror), torch.as_tensor(plain).flip(-1))
    listed = list(views(list(images), 10, True))
    assert all(
        torch.equal(torch.stack(list(a)), torch.as_tensor(b))
        for a, b in zip(listed, ten, strict=True)
    )


def test_shrinking_averages() -> None:
    """A checkerboard becomes gray, not black or white."""
    board = (torch.arange(64)[:, None] + torch.arange(64)) % 2 * 254
    out = resized(board.to(torch.uint8).expand(1, 3, 64, 64), (8, 8))
    torch.testing.assert_close(out, torch.full((1, 3, 8, 8), 127.0), atol=4, rtol=0)
