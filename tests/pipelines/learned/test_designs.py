"""Designs: network and recipe by the size of images."""

from __future__ import annotations

import pytest
import torch

from pipelines.alexnet import build
from pipelines.learned.designs import CudaConvnetDesign
from pipelines.learned.recipe import RECIPE_2012


@pytest.mark.parametrize(
    ("image_size", "side", "crop"),
    [
        ((32, 32), 32, 28),
        ((8, 8), 32, 28),
        ((64, 96), 64, 56),
        ((127, 300), 127, 111),
        ((128, 128), 256, 224),
        ((500, 375), 256, 224),
        (None, 256, 224),
    ],
)
def test_side_and_crop_by_image_size(image_size, side, crop):
    design = build().design
    assert design.square_side(image_size) == side
    with torch.device("meta"):
        assert design.network(10, side).crop == crop


@pytest.mark.parametrize(
    ("image_size", "expected"), [((32, 32), "short"), ((127, 127), "short"), ((128, 128), "2012")]
)
def test_auto_recipe_by_image_size(image_size, expected):
    design = build().design
    assert design.recipe(1000, design.square_side(image_size)).name == expected
    assert build(recipe="2012").design.recipe(1000, 32) == RECIPE_2012


def test_cuda_convnet_is_for_images_of_32_pixels():
    design = CudaConvnetDesign("11pct")
    assert [design.square_side(size) for size in (None, (16, 16), (500, 375))] == [32, 32, 32]
    assert not design.is_small_variant(32)
    assert design.network(10, 32).crop == 24
    assert design.recipe(1000, 32).name == "11pct"
