"""How the parts of a store become train, tune and test."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness import Split, UserError, load_dataset
from harness.data.splitting import dataset_of, drawn


def store(classes: int, per_class: int, parts: tuple[str, ...] = ("train", "val")) -> Any:
    """A stand-in for a store of many 1 x 1 images, all different."""

    def split(part: str) -> Split:
        n = classes * per_class
        values = np.arange(n, dtype=np.uint32) + parts.index(part) * n
        pixels = values.view(np.uint8).reshape(n, 4)[:, :3].reshape(n, 3, 1, 1)
        return Split.from_arrays(
            pixels, np.arange(n) % classes, class_names=[str(i) for i in range(classes)]
        )

    facts = {"class_names": [str(i) for i in range(classes)], "dataset_notes": [], "source": "here"}
    return SimpleNamespace(facts=facts, parts=list(parts), split=split, undecodable=[])


def cut(made: Any) -> Any:
    return dataset_of(made, title="made", test_fraction=0.2, split_seed=0)


@pytest.mark.parametrize(
    ("classes", "per_class", "held_out"), [(1000, 60, 50), (1000, 20, 2), (999, 60, 6)]
)
def test_tune_is_fifty_a_class_of_a_thousand_classes_else_a_tenth(
    classes: int, per_class: int, held_out: int
) -> None:
    splits = load_dataset(cut(store(classes, per_class)))
    assert splits.tune
    assert set(np.bincount(splits.tune.labels).tolist()) == {held_out}


def test_test_is_scored_where_there_is_one_else_val() -> None:
    assert cut(store(2, 5)).dataset_notes == ()
    both = cut(store(2, 5, ("test", "train", "val")))
    assert both.dataset_notes == ("val/ is not used: test/ is the test split",)
    assert both.test.digest == store(2, 5, ("test", "train", "val")).split("test").digest


@pytest.mark.parametrize(
    ("parts", "learned", "scored", "dataset_notes"),
    [
        (("all", "test"), "all", "test", ()),
        (("all", "train", "val"), "train", "val", ("all/ is not used: val/ is the test split",)),
        (
            ("all", "train"),
            "train",
            "train",
            ("no test part: a class-balanced 20% (seed 0) is the test split", "all/ is not used"),
        ),
        (
            ("test", "val"),
            "test",
            "test",
            ("no test part: a class-balanced 20% (seed 0) is the test split", "val/ is not used"),
        ),
        (
            ("val",),
            "val",
            "val",
            ("only val/ found: a class-balanced 20% (seed 0) is the test split",),
        ),
    ],
)
def test_every_part_is_used_or_said_not_to_be(
    parts: tuple[str, ...], learned: str, scored: str, dataset_notes: tuple[str, ...]
) -> None:
    made = store(2, 10, parts)
    whole = cut(made)
    assert whole.dataset_notes == dataset_notes
    assert set(whole.train.keys) <= set(made.split(learned).keys)
    assert set(whole.test.keys) <= set(made.split(scored).keys)


def test_equal_images_are_on_one_side() -> None:
    """Ten images of a class, of which each is there twice, and one five times."""
    different = np.random.default_rng(0).integers(0, 256, (20, 3, 4, 4), dtype=np.uint8)
    copies = np.concatenate([different, different, different[:1], different[:1], different[:1]])
    labels = np.concatenate([np.arange(20) // 10, np.arange(20) // 10, [0, 0, 0]])
    for seed in range(5):
        train, test = drawn(Split.from_arrays(copies, labels), 0.2, seed)
        assert len(train) + len(test) == 43
        assert not {key[:16] for key in train.keys} & {key[:16] for key in test.keys}
        assert all(4 <= count <= 9 for count in np.bincount(test.labels))  # of 23 and 20
    with pytest.raises(UserError, match="one image only and copies of it"):
        drawn(Split.from_arrays(copies[[0, 20, 1, 2]], np.array([0, 0, 1, 1])), 0.2, 0)
