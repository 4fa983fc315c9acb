"""The order, crops and flips of an epoch: uniform, reproducible, the same for any world size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness import Split
from harness.data.random_draws import RandomCrop

IMAGES = np.random.default_rng(0).integers(0, 256, (41, 3, 12, 15), dtype=np.uint8)


@pytest.mark.parametrize("world_size", [2, 3, 7])
def test_processes_share_the_batches_of_a_single_process(world_size: int) -> None:
    options: dict[str, Any] = {"seed": 2, "epoch": 0, "crop": RandomCrop(10), "flip": True}
    split = Split.from_arrays(IMAGES, np.arange(41) % 4)
    alone = list(split.shuffled(8, **options))
    shares = [
        list(split.sharded(rank, world_size).shuffled(8, **options)) for rank in range(world_size)
    ]
    assert [len(batch) for batch in alone] == [8] * 5 + [1]
    for step, batch in enumerate(alone):
        for rank, share in enumerate(shares):
            own = slice(rank, None, world_size)
            assert share[step].index.tolist() == batch.index[own].tolist()
            pairs = zip(share[step].images, batch.images[own], strict=True)
            assert all(torch.equal(a, b) for a, b in pairs)


def test_crop_offsets_and_flips_are_uniform() -> None:
    """4,000 crops of an image whose gray levels encode the position of each pixel."""
    ramp = np.tile((np.arange(15) + 16 * np.arange(12)[:, None]).astype(np.uint8), (4000, 3, 1, 1))
    split = Split.from_arrays(ramp, np.arange(4000) % 2)
    corners: list[tuple[int, int, bool]] = []
    for batch in split.shuffled(500, seed=0, epoch=0, crop=RandomCrop(10), flip=True):
        for crop in batch.images[:, 0].int():
            is_flipped = bool(crop[0, 0] > crop[0, -1])
            corner = int(crop[0, -1] if is_flipped else crop[0, 0])
            corners.append((corner // 16, corner % 16, is_flipped))
    values, counts = np.unique(corners, axis=0, return_counts=True)
    assert len(values) == 3 * 6 * 2
    assert counts.min() > 111 - 5 * 11  # of 4000 / 36 expected, five standard deviations
    assert counts.max() < 111 + 5 * 11


def test_padding_is_black() -> None:
    white = Split.from_arrays(np.full((200, 3, 8, 8), 255, np.uint8), np.arange(200) % 2)
    batches = white.shuffled(64, seed=0, epoch=0, crop=RandomCrop(8, pad=2))
    images = torch.cat([batch.images for batch in batches])
    black_columns = (images[:, 0] == 0).all(1).sum(1)
    assert sorted(set(black_columns.tolist())) == [0, 1, 2]
