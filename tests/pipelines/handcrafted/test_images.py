from __future__ import annotations

import pytest
import torch

from pipelines.handcrafted.images import resized, working_size


@pytest.mark.parametrize(
    ("image_size", "side"),
    [((32, 32), 32), ((28, 28), 32), ((40, 20), 40), ((33, 33), 40), ((300, 200), 128), ((8, 8), 32), (None, 128)],
)
def test_working_size(image_size: tuple[int, int] | None, side: int) -> None:
    assert working_size(image_size, multiple=8, smallest=32, largest=128) == side


def test_images_of_the_working_size_stay_as_they_are() -> None:
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    assert torch.equal(resized(images, 16), images.float())


def test_sizes_may_differ() -> None:
    images = [torch.full((3, *size), value, dtype=torch.uint8) for value, size in enumerate([(1, 1), (300, 40), (16, 16)])]
    out = resized(images, 16)
    assert out.shape == (3, 3, 16, 16)
    torch.testing.assert_close(out.mean((1, 2, 3)), torch.tensor([0.0, 1.0, 2.0]))


def test_shrinking_averages() -> None:
    """A checkerboard becomes grey, not black or white."""
    board = (torch.arange(64)[:, None] + torch.arange(64)) % 2 * 254
    out = resized(board.to(torch.uint8).expand(1, 3, 64, 64), 8)
    torch.testing.assert_close(out, torch.full((1, 3, 8, 8), 127.0), atol=4, rtol=0)
