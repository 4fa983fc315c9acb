"""Keys, digests and class-balanced selection depend on content alone."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from harness import Split
from harness.data.identity import image_keys, select_class_balanced

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 3, 5, 6), dtype=np.uint8)
LABELS = np.arange(40) % 4


def split(images: np.ndarray = IMAGES, labels: np.ndarray = LABELS, **options: str) -> Split:
    return Split.from_arrays(images, labels, **options)


def test_a_key_is_the_hash_of_the_source() -> None:
    expected = hashlib.sha256(b"photograph").hexdigest()[:16]
    assert image_keys([b"photograph"], np.array([0]))[0] == expected


def test_equal_images_are_numbered_in_order_of_label() -> None:
    keys = image_keys([b"a", b"b", b"a", b"a"], np.array([2, 0, 0, 1]))
    a = hashlib.sha256(b"a").hexdigest()[:16]
    assert [keys[0], keys[2], keys[3]] == [f"{a}-2", a, f"{a}-1"]


def test_no_images_have_no_keys() -> None:
    assert image_keys([], np.array([], dtype=int)).shape == (0,)


def test_the_digest_ignores_the_order_of_images() -> None:
    order = np.random.default_rng(1).permutation(40)
    assert split(IMAGES[order], LABELS[order]).digest == split().digest


def test_the_digest_depends_on_labels_pixels_images_and_preparation() -> None:
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


def test_the_two_parts_of_a_selection_together_have_the_digest_of_the_split() -> None:
    selected, rest = select_class_balanced(split().keys, LABELS, fraction=0.2)
    assert (split().take(selected) + split().take(rest)).digest == split().digest


def test_subsets_are_nested_balanced_and_selected_by_content() -> None:
    order = np.random.default_rng(1).permutation(40)
    small, large = split().subset(0.2), split(IMAGES[order], LABELS[order]).subset(0.5)
    assert set(small.keys) < set(large.keys)
    assert np.bincount(small.labels).tolist() == [2] * 4
    assert np.bincount(large.labels).tolist() == [5] * 4


@pytest.mark.parametrize(
    ("total", "per_class"), [(4, [1, 1, 1]), (9, [4, 4, 1]), (8, [3, 3, 1]), (100, [10, 5, 1])]
)
def test_a_total_is_spread_evenly_and_never_exceeded(total: int, per_class: list[int]) -> None:
    labels = np.repeat([0, 1, 2], [10, 5, 1])
    keys = np.array([f"{i:02}" for i in range(16)])
    selected, rest = select_class_balanced(keys, labels, total=total)
    assert len(selected) <= total
    assert len(selected) + len(rest) == 16
    assert np.bincount(labels[selected], minlength=3).tolist() == per_class
