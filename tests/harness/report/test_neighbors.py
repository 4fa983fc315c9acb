"""Nearest training images, against distances computed one by one."""

from __future__ import annotations

import numpy as np
import torch

from harness.data.split import Split
from harness.report.neighbors import NEAREST, nearest_images


def split(n: int, seed: int) -> Split:
    return Split.from_arrays(
        np.random.default_rng(seed).integers(0, 256, (n, 3, 4, 4), dtype=np.uint8), np.arange(n) % 3
    )


def embed(batch):
    return batch.images.flatten(1).float()


CPU = torch.device("cpu")


def test_the_nearest_images_come_in_order_of_distance() -> None:
    train, test = split(200, 0), split(9, 1)
    found = nearest_images(embed, test, train, [7, 2], CPU)
    assert found.searched == 200
    pixels = train.images.read(train.rows).flatten(1).double().numpy()
    for query, nearest in zip([7, 2], found.nearest, strict=True):
        wanted = test.images.read(test.rows[[query]]).flatten(1).double().numpy()
        distances = np.linalg.norm(pixels - wanted, axis=1)
        np.testing.assert_array_equal(nearest, np.argsort(distances)[:NEAREST])


def test_a_class_balanced_subset_of_a_large_training_split_is_searched() -> None:
    train, test = split(300, 0), split(3, 1)
    found = nearest_images(embed, test, train, [0], CPU, searched=30)
    assert found.searched == 30
    again = nearest_images(embed, test, train.take(np.arange(300)[::-1]), [0], CPU, searched=30)
    # The subset is chosen by key, so the order of the images changes nothing.
    assert train.keys[found.nearest[0]].tolist() == train.keys[::-1][again.nearest[0]].tolist()


def test_an_image_that_cannot_be_decoded_is_no_neighbor() -> None:
    train, test = split(10, 0), split(3, 1)
    train.rows[4] = -1
    found = nearest_images(embed, test, train, [0, 1], CPU)
    assert found.searched == 9
    assert 4 not in found.nearest


def test_there_may_be_fewer_training_images_than_neighbors() -> None:
    assert nearest_images(embed, split(3, 1), split(3, 0), [0], CPU).nearest.shape == (1, 3)
