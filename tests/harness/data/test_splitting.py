"""How the parts of a prepared dataset become train, tune and test."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness import Dataset, Split, UserError, load_dataset
from harness.data.splitting import dataset_from_prepared, holdout_split, join_labeled

HELD_OUT = "a class-balanced 20% (seed 0) is the test split"


def prepared(classes: int, per_class: int, parts: tuple[str, ...] = ("train", "val")) -> Any:
    """Return a stand-in for a prepared dataset of different 1 x 1 images."""
    class_names = [str(i) for i in range(classes)]

    def split(part: str) -> Split:
        n = classes * per_class
        values = np.arange(n, dtype=np.uint32) + parts.index(part) * n
        pixels = values.view(np.uint8).reshape(n, 4)[:, :3].reshape(n, 3, 1, 1)
        return Split.from_arrays(pixels, np.arange(n) % classes, class_names=class_names)

    manifest = {"class_names": class_names, "dataset_notes": [], "source": "here"}
    return SimpleNamespace(
        manifest=manifest, parts=list(parts), split=split, undecodable=[], unusual=[]
    )


def make_dataset(prepared: Any, **options: Any) -> Dataset:
    return dataset_from_prepared(prepared, title="made", test_fraction=0.2, split_seed=0, **options)


@pytest.mark.parametrize(
    ("classes", "per_class", "held_out"), [(1000, 60, 50), (1000, 20, 2), (999, 60, 6)]
)
def test_tune_is_50_images_per_class_from_1000_classes_on_else_a_tenth(
    classes: int, per_class: int, held_out: int
) -> None:
    splits = load_dataset(make_dataset(prepared(classes, per_class)))
    assert splits.tune
    assert set(np.bincount(splits.tune.labels).tolist()) == {held_out}


def test_the_test_part_is_scored_if_there_is_one_else_val() -> None:
    val_only = prepared(2, 5)
    dataset = make_dataset(val_only)
    assert dataset.dataset_notes == ()
    assert (dataset.test.digest, dataset.tune) == (val_only.split("val").digest, None)


THREE_PARTS = ("test", "train", "val")


def test_validation_is_the_tune_split_if_there_are_train_and_test() -> None:
    source = prepared(2, 5, THREE_PARTS)
    source.manifest["part_folders"] = {"val": "valid/"}
    dataset = make_dataset(source)
    assert dataset.dataset_notes == (
        "valid/ (10 images) is the tune split, unless tune is given a number",
    )
    assert dataset.test.digest == source.split("test").digest
    splits = load_dataset(dataset)
    assert splits.tune
    assert splits.tune.digest == source.split("val").digest
    assert splits.train.digest == source.split("train").digest


def test_validation_may_be_part_of_train() -> None:
    source = prepared(2, 20, THREE_PARTS)
    dataset = make_dataset(source, validation="train")
    assert dataset.dataset_notes == ("val/ (40 images) is added to train",)
    assert (len(dataset.train), dataset.tune) == (80, None)
    # the same images are labeled in both readings
    assert load_dataset(dataset).fit_digest == load_dataset(make_dataset(source)).fit_digest


@pytest.mark.parametrize(("tune", "held_out"), [(0, 0), (3, 6)])
def test_a_number_for_tune_overrides_the_validation_part(tune: int, held_out: int) -> None:
    dataset = make_dataset(prepared(2, 20, THREE_PARTS))
    splits = load_dataset(dataset, tune=tune)
    assert (len(splits.train), len(splits.tune or [])) == (80 - held_out, held_out)
    assert splits.fit_digest == load_dataset(dataset).fit_digest
    note = f"tune={tune}: the validation part is added to train before"
    assert splits.dataset_notes[-1] == note


def test_a_limit_keeps_the_proportion_of_train_and_validation() -> None:
    dataset = make_dataset(prepared(2, 20, THREE_PARTS))
    splits = load_dataset(dataset, limit=20)
    assert (len(splits.train), len(splits.tune or [])) == (10, 10)
    with pytest.raises(UserError, match=r"limit=3 is less than one image.*give at least 4"):
        load_dataset(dataset, limit=3)


def test_a_share_of_train_is_one_of_validation_too() -> None:
    source = prepared(2, 20, THREE_PARTS)
    dataset = make_dataset(source, train_percent=25)
    assert dataset.tune
    assert (len(dataset.train), len(dataset.tune), len(dataset.test)) == (10, 10, 40)


def test_copies_in_train_and_validation_have_different_keys_when_joined() -> None:
    split = prepared(2, 5).split("train")
    joined = join_labeled(split, split)
    assert len(set(joined.keys)) == 20


@pytest.mark.parametrize(
    ("parts", "train_part", "test_part", "notes"),
    [
        (("all", "test"), "all", "test", ()),
        (("all", "train", "val"), "train", "val", ("all/ is not used: val/ is the test split",)),
        (("all", "train"), "train", "train", (f"no test part: {HELD_OUT}", "all/ is not used")),
        (("test", "val"), "test", "test", (f"no test part: {HELD_OUT}", "val/ is not used")),
        (("val",), "val", "val", (f"only val/ found: {HELD_OUT}",)),
    ],
)
def test_every_part_is_used_or_a_note_says_that_it_is_not(
    parts: tuple[str, ...], train_part: str, test_part: str, notes: tuple[str, ...]
) -> None:
    source = prepared(2, 10, parts)
    dataset = make_dataset(source)
    assert dataset.dataset_notes == notes
    assert set(dataset.train.keys) <= set(source.split(train_part).keys)
    assert set(dataset.test.keys) <= set(source.split(test_part).keys)


def test_duplicates_stay_on_one_side() -> None:
    """Ten different images per class, each of them twice, and one five times."""
    different = np.random.default_rng(0).integers(0, 256, (20, 3, 4, 4), dtype=np.uint8)
    images = np.concatenate([different, different, different[:1], different[:1], different[:1]])
    labels = np.concatenate([np.arange(20) // 10, np.arange(20) // 10, [0, 0, 0]])
    for seed in range(5):
        train, test = holdout_split(Split.from_arrays(images, labels), 0.2, seed)
        assert len(train) + len(test) == 43
        assert not {key[:16] for key in train.keys} & {key[:16] for key in test.keys}
        assert all(4 <= count <= 9 for count in np.bincount(test.labels))  # of 23 and 20


def test_a_class_needs_two_different_images() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 4, 4), dtype=np.uint8)
    split = Split.from_arrays(images[[0, 0, 1, 2]], np.array([0, 0, 1, 1]))
    with pytest.raises(UserError, match="one image only and copies of it"):
        holdout_split(split, 0.2, 0)
