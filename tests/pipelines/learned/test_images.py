from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.contract import Split
from pipelines.learned import images as module
from pipelines.learned.images import Squares, square


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (16, 16), (100, 33)])
def test_square_has_the_middle_of_the_image(shape):
    height, width = shape
    across = torch.linspace(0, 255, width).expand(3, height, width)
    down = torch.linspace(0, 255, height)[:, None].expand(3, height, width)
    for ramp, mean_axis in ((across, 1), (down, 2)):
        out = square(ramp.round().to(torch.uint8)[None], 32)
        assert out.shape == (1, 3, 32, 32)
        assert out.dtype == torch.uint8
        profile = out[0].float().mean((0, mean_axis))
        assert profile.mean().item() == pytest.approx(127.5, abs=2)
        assert (profile.diff() >= 0).all()


def test_square_leaves_squares_of_the_side_alone():
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    assert square(images, 32) is images


def test_square_of_a_list_is_that_of_each():
    images = [torch.randint(0, 256, (3, 40 + i, 50), dtype=torch.uint8) for i in range(3)]
    out = square(images, 32)
    for i, image in enumerate(images):
        assert torch.equal(out[i], square(image[None], 32)[0])


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_batches_follow_the_order_resident_or_not(monkeypatch, limit):
    monkeypatch.setattr(module, "RESIDENT_BYTES", limit)
    pixels = np.random.default_rng(0).integers(0, 256, (10, 3, 32, 32), dtype=np.uint8)
    squares = Squares(Split.from_arrays(pixels, np.arange(10) % 3), 32, torch.device("cpu"))
    order = np.array([7, 0, 3, 9, 1])
    seen = list(squares.batches(2, order))
    assert [len(labels) for _, labels in seen] == [2, 2, 1]
    assert torch.equal(torch.cat([images for images, _ in seen]), torch.from_numpy(pixels[order]))
    assert torch.cat([labels for _, labels in seen]).tolist() == [1, 0, 0, 0, 1]
