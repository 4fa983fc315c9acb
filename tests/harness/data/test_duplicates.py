"""Copies are found whatever was done to them, and other images are not."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from harness.data.duplicates import (
    MAX_HASH_DISTANCE,
    THUMBNAIL_SIDE,
    _candidate_pairs,
    near_pairs,
    perceptual_hashes,
)

Retouch = Callable[[Image.Image], Image.Image]


@pytest.fixture(scope="module")
def tiles() -> list[Image.Image]:
    """Parts of a photograph, 64 pixels square, without the plain sky."""
    photo = Image.fromarray(load_sample_images().images[0])
    corners = [(x, y) for y in range(0, 360, 64) for x in range(0, 576, 64)]
    parts = [photo.crop((x, y, x + 64, y + 64)) for x, y in corners]
    return [part for part in parts if np.asarray(part).std() > 40]


def thumbnail(image: Image.Image) -> torch.Tensor:
    small = image.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    return torch.from_numpy(np.array(small)).permute(2, 0, 1)


def recompress(image: Image.Image, quality: int = 60) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


@pytest.mark.parametrize(
    "retouch",
    [
        lambda image: image,
        recompress,
        lambda image: image.resize((50, 50)),
        lambda image: image.point(lambda v: min(255, v + 6)),
        lambda image: image.point(lambda v: v // 2),
        lambda image: recompress(image.resize((32, 32)), quality=20),
    ],
    ids=["equal", "recompressed", "resized", "brighter", "half as bright", "small and coarse JPEG"],
)
def test_copies_are_found_and_nothing_else(tiles: list[Image.Image], retouch: Retouch) -> None:
    copies = [retouch(image) for image in tiles[::7]]
    pairs = near_pairs(torch.stack([thumbnail(image) for image in tiles + copies]))
    expected = {(7 * k, len(tiles) + k) for k in range(len(copies))}
    assert {(int(i), int(j)) for i, j in pairs} == expected


def test_two_objects_before_the_same_sky_are_not_copies() -> None:
    """Their gray levels differ less than those of a photograph and its coarse JPEG."""
    skies = torch.full((2, 3, THUMBNAIL_SIDE, THUMBNAIL_SIDE), 180, dtype=torch.uint8)
    skies[0, :, 8:14, 4:12] = 120
    skies[1, :, 18:24, 18:26] = 120
    assert (skies[0].float() - skies[1].float()).square().mean().sqrt() < 20
    plain = torch.full((2, 3, THUMBNAIL_SIDE, THUMBNAIL_SIDE), 90, dtype=torch.uint8)
    assert near_pairs(torch.cat([skies, plain])).shape == (0, 2)


def test_different_images_give_no_pairs(tiles: list[Image.Image]) -> None:
    assert near_pairs(torch.stack([thumbnail(image) for image in tiles[::9][:2]])).shape == (0, 2)


def test_bands_find_the_same_pairs_as_comparing_all() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 1 << 63, 300, dtype=np.uint64)
    flips = []
    for k in range(300):
        bits = rng.choice(64, k % (MAX_HASH_DISTANCE + 3), replace=False).astype(np.uint64)
        flips.append(np.bitwise_or.reduce(np.uint64(1) << bits))
    hashes = np.concatenate([hashes, hashes ^ np.array(flips, dtype=np.uint64)])
    distances = np.bitwise_count(hashes[:, None] ^ hashes[None])
    expected = np.argwhere(np.triu(distances <= MAX_HASH_DISTANCE, 1))
    found = np.unique(np.concatenate(list(_candidate_pairs(hashes))))
    assert found.tolist() == (expected[:, 0] * 600 + expected[:, 1]).tolist()


def test_hashes_equal_those_of_scipys_cosine_transform(tiles: list[Image.Image]) -> None:
    from scipy.fft import dctn

    thumbnails = torch.stack([thumbnail(image) for image in tiles[:5]])
    gray = thumbnails.float().mean(1).numpy()
    for image, value in zip(gray, perceptual_hashes(thumbnails).tolist(), strict=True):
        # scipy scales all coefficients except the constant ones by the same factor
        coefficients = dctn(image, type=2)[1:9, 1:9].ravel()
        bits = coefficients > np.sort(coefficients)[31]  # torch's median is the lower one
        assert value == int("".join("01"[int(bit)] for bit in bits), 2)
