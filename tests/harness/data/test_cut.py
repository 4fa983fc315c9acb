"""How the parts of a store become train, tune and test."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness import Split, load_dataset
from harness.data.cut import dataset_of


def store(classes: int, per_class: int, parts: tuple[str, ...] = ("train", "val")) -> Any:
    """A stand-in for a store of many 1 x 1 images, all different."""

    def split(part: str) -> Split:
        n = classes * per_class
        values = np.arange(n, dtype=np.uint32) + parts.index(part) * n
        pixels = values.view(np.uint8).reshape(n, 4)[:, :3].reshape(n, 3, 1, 1)
        return Split.from_arrays(pixels, np.arange(n) % classes, class_names=[str(i) for i in range(classes)])

    facts = {"class_names": [str(i) for i in range(classes)], "remarks": [], "source": "here"}
    return SimpleNamespace(facts=facts, parts=list(parts), split=split, undecodable=[])


def cut(made: Any) -> Any:
    return dataset_of(made, title="made", test_fraction=0.2, split_seed=0)


@pytest.mark.parametrize(("classes", "per_class", "held_out"), [(1000, 60, 50), (1000, 20, 2), (999, 60, 6)])
def test_tune_is_fifty_a_class_of_a_thousand_classes_else_a_tenth(classes: int, per_class: int, held_out: int) -> None:
    splits = load_dataset(cut(store(classes, per_class)))
    assert splits.tune
    assert set(np.bincount(splits.tune.labels).tolist()) == {held_out}


def test_test_is_scored_where_there_is_one_else_val() -> None:
    assert cut(store(2, 5)).remarks == ()
    both = cut(store(2, 5, ("test", "train", "val")))
    assert both.remarks == ("val/ is not used: test/ is the test split",)
    assert both.test.digest == store(2, 5, ("test", "train", "val")).split("test").digest
