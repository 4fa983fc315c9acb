"""The one resize, against torchvision's."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

from harness.data.decode import Undecodable, decode, resize, shrink

SHAPES = [(100, 75), (33, 500), (64, 64), (7, 9)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("wanted", [(32, 48), (50, 20)])
def test_pixels_are_torchvisions_bit_for_bit(
    shape: tuple[int, int], wanted: tuple[int, int]
) -> None:
    batch = torch.randint(
        0, 256, (3, 3, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    expected = functional.resize(batch, list(wanted), antialias=True)
    assert torch.equal(resize(batch, wanted), expected)
    assert torch.equal(resize(batch[0], wanted), expected[0])
    channels_last = batch[0].permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert torch.equal(resize(channels_last, wanted), expected[0])
    assert (
        resize(channels_last, wanted).permute(1, 2, 0).is_contiguous()
    )  # as an encoder wants it: no copy in between


@pytest.mark.parametrize(
    ("shape", "shrunk"),
    [((100, 75), (43, 32)), ((33, 500), (32, 485)), ((32, 90), (32, 90)), ((7, 9), (7, 9))],
)
def test_the_shorter_side_comes_down_and_never_up(
    shape: tuple[int, int], shrunk: tuple[int, int]
) -> None:
    assert shrink(torch.zeros(3, *shape, dtype=torch.uint8), 32).shape == (3, *shrunk)


def test_a_side_that_no_jpeg_can_have_is_undecodable() -> None:
    file = io.BytesIO()
    Image.new("L", (70_000, 2)).save(file, "PNG")
    with pytest.raises(Undecodable, match="70000 x 2 pixels: a side is longer than 65,500"):
        decode(file.getvalue())
