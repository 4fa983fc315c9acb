"""Batches cover a split once over all processes."""

from __future__ import annotations

import numpy as np
import pytest

from harness import Split, UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 3, 5, 6), dtype=np.uint8)
LABELS = np.arange(40) % 4


@pytest.fixture(scope="module")
def split() -> Split:
    return Split.from_arrays(IMAGES, LABELS)


def test_batches_cover_the_split_once_over_all_processes(split: Split) -> None:
    order = np.random.default_rng(2).permutation(40)
    batches = [
        batch for rank in range(3) for batch in split.sharded(rank, 3).batches(4, order=order)
    ]
    positions = np.concatenate([batch.index.numpy() for batch in batches])
    assert sorted(positions.tolist()) == list(range(40))
    for batch in batches:
        assert np.array_equal(batch.images.numpy(), IMAGES[batch.index.numpy()])
        assert (batch.keys == split.keys[batch.index.numpy()]).all()


def test_the_first_batches_of_all_processes_are_the_first_images_of_the_order(split: Split) -> None:
    batches = [next(iter(split.sharded(rank, 2).batches(5))) for rank in range(2)]
    positions = np.concatenate([batch.index.numpy() for batch in batches])
    assert sorted(positions.tolist()) == list(range(10))


def test_added_splits_keep_images_labels_and_shard(split: Split) -> None:
    other = Split.from_arrays(255 - IMAGES, LABELS)
    both = split.sharded(0, 2) + other
    assert both.shard == (0, 2)
    assert both.labels.tolist() == [*LABELS, *LABELS]
    (batch,) = (split + other).batches(80, order=np.array([79, 0, 41]))
    expected = np.stack([255 - IMAGES[39], IMAGES[0], 255 - IMAGES[1]])
    assert np.array_equal(batch.images.numpy(), expected)


@pytest.mark.parametrize("labels", [LABELS[:-1], LABELS[:, None]])
def test_labels_must_match_the_images(labels: np.ndarray) -> None:
    with pytest.raises(UserError, match="one label per image: got 40 images and labels of shape"):
        Split.from_arrays(IMAGES, labels)


def test_labels_must_be_below_the_number_of_classes() -> None:
    with pytest.raises(ValueError, match="labels run from 0 to 3, but there are 2 classes"):
        Split.from_arrays(IMAGES, LABELS, class_names=["cat", "dog"])


def test_class_names_hold_nothing_that_is_not_seen() -> None:
    images = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    split = Split.from_arrays(images, [0, 1], class_names=["two\nlines", "\x1b[31m\u202ered"])
    assert split.class_names == (r"two\nlines", r"\x1b[31m\u202ered")
