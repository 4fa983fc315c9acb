"""Copies are found by content, whatever their number, and keys of another form only as a whole."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from harness.data.copies import (
    are_among,
    are_repeats,
    content_hashes,
    label_conflict_notes,
    label_conflicts,
)
from harness.data.identity import image_keys

A, B, C = "0123456789abcdef", "fedcba9876543210", "00000000000000aa"


def test_a_copy_has_the_hash_of_its_original() -> None:
    hashes = content_hashes(np.array([A, f"{A}-1", B, f"{A}-12"]))
    assert hashes.tolist() == [int(A, 16), int(A, 16), int(B, 16), int(A, 16)]


@pytest.mark.parametrize(
    "keys",
    [
        ["cat/1.jpg", "cat/2.jpg", "cat/1.jpg-1"],
        [f"{A}0001", f"{A}0002", f"{A}0003"],  # longer than ours, with a common beginning
        ["img-1", "img-2", "img-3"],
        ["00000001", "00000002", "00000003"],
        ["é", "\udcff", ""],
    ],
)
def test_keys_of_another_form_are_equal_only_as_a_whole(keys: list[str]) -> None:
    assert len(set(content_hashes(np.array(keys)).tolist())) == 3
    assert not are_repeats(np.array(keys)).any()
    assert are_among(np.array(keys), np.array(keys[:1])).tolist() == [True, False, False]


def test_counts_agree_with_a_count_of_the_contents() -> None:
    rng = np.random.default_rng(0)
    contents = [[b"%d" % i for i in rng.integers(0, 400, n)] for n in (500, 300)]
    train, test = (image_keys(part, np.zeros(len(part))) for part in contents)
    assert are_among(test, train).tolist() == [source in contents[0] for source in contents[1]]
    repeats = sum(count - 1 for count in Counter(contents[1]).values())
    assert are_repeats(test).sum() == repeats


def test_one_of_several_copies_is_no_repeat_in_any_order() -> None:
    keys = np.array([f"{A}-2", B, A, f"{A}-1"])
    assert are_repeats(keys).tolist() == [True, False, False, True]
    assert are_repeats(keys[[0, 3]]).tolist() == [True, False]  # the first was left out


def test_an_empty_split_has_no_copies() -> None:
    none = np.zeros(0, dtype="U24")
    assert not len(content_hashes(none))
    assert not len(are_repeats(none))
    assert not are_among(np.array([A]), none).any()


def test_copies_with_different_labels_are_conflicts() -> None:
    keys, labels = np.array([A, f"{A}-1", B, f"{B}-1", C]), np.array([0, 1, 2, 2, 3])
    assert label_conflicts(keys, labels).tolist() == [int(A, 16)]


def test_the_note_tells_where_the_conflicts_are() -> None:
    train = np.array([A, f"{A}-1", B]), np.array([0, 1, 0])
    test = np.array([A, B, C]), np.array([0, 1, 1])
    assert label_conflict_notes(*train, *test) == (
        "images with copies under different labels: 1 in train, 0 in test, "
        "1 between train and test",
    )
    assert label_conflict_notes(*train, *train)[0].endswith(
        "1 in train, 1 in test, 0 between train and test"
    )
    assert label_conflict_notes(*test, *test) == ()
