from __future__ import annotations

import hashlib

import numpy as np
import pytest

from harness import Split, UserError
from harness.data.identity import class_balanced, image_keys

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 3, 5, 6), dtype=np.uint8)
LABELS = np.arange(40) % 4


def split(images: np.ndarray = IMAGES, labels: np.ndarray = LABELS, **options: str) -> Split:
    return Split.from_arrays(images, labels, **options)  # type: ignore[arg-type]


def test_a_key_is_the_hash_of_the_source() -> None:
    assert (
        image_keys([b"photograph"], np.array([0]))[0]
        == hashlib.sha256(b"photograph").hexdigest()[:16]
    )


def test_equal_images_are_numbered_in_order_of_label() -> None:
    keys = image_keys([b"a", b"b", b"a", b"a"], np.array([2, 0, 0, 1]))
    a = hashlib.sha256(b"a").hexdigest()[:16]
    assert [keys[0], keys[2], keys[3]] == [f"{a}-2", a, f"{a}-1"]


def test_the_digest_ignores_order() -> None:
    order = np.random.default_rng(1).permutation(40)
    assert split(IMAGES[order], LABELS[order]).digest == split().digest


def test_the_digest_sees_a_label_a_pixel_an_image_and_the_preparation() -> None:
    labels, images = LABELS.copy(), IMAGES.copy()
    labels[7] = (labels[7] + 1) % 4
    images[3, 0, 0, 0] ^= 1
    others = [
        split(labels=labels),
        split(images),
        split(IMAGES[1:], LABELS[1:]),
        split(preparation="size=32"),
    ]
    assert len({split().digest, *(other.digest for other in others)}) == 5


def test_train_plus_tune_has_the_digest_of_the_whole() -> None:
    part, rest = class_balanced(split().keys, LABELS, fraction=0.2)
    assert (split().take(part) + split().take(rest)).digest == split().digest


def test_subsets_are_nested_balanced_and_chosen_by_content() -> None:
    order = np.random.default_rng(1).permutation(40)
    small, large = split().subset(0.2), split(IMAGES[order], LABELS[order]).subset(0.5)
    assert set(small.keys) < set(large.keys)
    assert np.bincount(small.labels).tolist() == [2] * 4
    assert np.bincount(large.labels).tolist() == [5] * 4


@pytest.mark.parametrize(
    ("total", "taken"), [(4, [1, 1, 1]), (9, [4, 4, 1]), (8, [3, 3, 1]), (100, [10, 5, 1])]
)
def test_a_total_is_spread_evenly_and_never_passed(total: int, taken: list[int]) -> None:
    labels = np.repeat([0, 1, 2], [10, 5, 1])
    chosen, rest = class_balanced(np.array([f"{i:02}" for i in range(16)]), labels, total=total)
    assert len(chosen) <= total
    assert len(chosen) + len(rest) == 16
    assert np.bincount(labels[chosen], minlength=3).tolist() == taken


def test_batches_cover_the_split_once_over_all_processes() -> None:
    order = np.random.default_rng(2).permutation(40)
    seen = [
        batch for rank in range(3) for batch in split().sharded(rank, 3).batches(4, order=order)
    ]
    assert sorted(np.concatenate([batch.index.numpy() for batch in seen]).tolist()) == list(
        range(40)
    )
    for batch in seen:
        assert np.array_equal(batch.images.numpy(), IMAGES[batch.index.numpy()])  # type: ignore[union-attr]
        assert (batch.keys == split().keys[batch.index.numpy()]).all()


def test_the_ith_batches_of_all_processes_are_the_ith_stretch_of_the_order() -> None:
    first = np.concatenate(
        [next(iter(split().sharded(rank, 2).batches(5))).index.numpy() for rank in range(2)]
    )
    assert sorted(first.tolist()) == list(range(10))


@pytest.mark.parametrize("shape", [(40, 5, 6, 3), (40, 5, 6)])
def test_arrays_of_other_layouts_are_taken(shape: tuple[int, ...]) -> None:
    images = np.zeros(shape, dtype=np.uint8)
    assert next(split(images).batches(2)).images.shape == (2, 3, 5, 6)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (IMAGES.astype(np.float32), LABELS, "uint8"),
        (IMAGES[:, :2], LABELS, r"\(40, 2, 5, 6\)"),
        (IMAGES, LABELS[:-1], "40 images and labels of shape"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    images: np.ndarray, labels: np.ndarray, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        split(images, labels)
