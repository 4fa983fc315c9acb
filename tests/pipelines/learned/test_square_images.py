from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.contract import Split
from pipelines.learned import square_images
from pipelines.learned.square_images import square_split, to_squares


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (16, 16), (100, 33)])
def test_a_square_is_the_middle_of_the_image(shape):
    height, width = shape
    across = torch.linspace(0, 255, width).expand(3, height, width)
    down = torch.linspace(0, 255, height)[:, None].expand(3, height, width)
    for ramp, mean_axis in ((across, 1), (down, 2)):
        out = to_squares(ramp.round().to(torch.uint8)[None], 32)
        assert out.shape == (1, 3, 32, 32)
        assert out.dtype == torch.uint8
        profile = out[0].float().mean((0, mean_axis))
        assert profile.mean().item() == pytest.approx(127.5, abs=2)
        assert (profile.diff() >= 0).all()


def test_squares_of_the_wanted_side_are_not_changed():
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    assert to_squares(images, 32) is images


def test_a_list_gives_the_squares_of_its_images():
    images = [torch.randint(0, 256, (3, 40 + i, 50), dtype=torch.uint8) for i in range(3)]
    out = to_squares(images, 32)
    for i, image in enumerate(images):
        assert torch.equal(out[i], to_squares(image[None], 32)[0])


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_a_split_of_squares_reads_the_same_resident_or_not(monkeypatch, limit):
    monkeypatch.setattr(square_images, "MAX_RESIDENT_BYTES", limit)
    pixels = np.random.default_rng(0).integers(0, 256, (10, 3, 40, 50), dtype=np.uint8)
    whole = Split.from_arrays(pixels, np.arange(10) % 3)
    part = whole.take(np.array([8, 2, 5, 9, 0])).sharded(1, 2)
    squares = square_split(part, 32, torch.device("cpu"))
    assert (squares.image_size, squares.digest, squares.shard) == ((32, 32), part.digest, (1, 2))
    batches = list(squares.batches(1))
    assert [batch.index.tolist() for batch in batches] == [[1], [3]]
    expected = to_squares(torch.from_numpy(pixels[[2, 9]]), 32)
    assert torch.equal(torch.cat([batch.images for batch in batches]), expected)


def test_images_of_several_sizes_become_a_split_of_squares():
    class Sizes:
        image_size = None

        def __len__(self):
            return 5

        def read(self, rows):
            return [torch.full((3, 40 + int(row), 50), int(row), dtype=torch.uint8) for row in rows]

    split = Split(
        keys=np.arange(5).astype(str),
        labels=np.arange(5),
        class_names=list("abcde"),
        images=Sizes(),
        preparation="",
    )
    batch = next(square_split(split, 32, torch.device("cpu")).batches(5))
    assert batch.images.shape == (5, 3, 32, 32)
    assert batch.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
