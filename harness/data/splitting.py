"""Train and test splits of a prepared dataset."""

from __future__ import annotations

import random
from typing import Literal

import numpy as np

from harness.data.identity import HASH_DIGITS, number_duplicates
from harness.data.image_notes import image_notes
from harness.data.prepared_dataset import PreparedDataset
from harness.data.sources import UNSPLIT
from harness.data.split import Dataset, Split
from harness.errors import UserError

TRAIN_PERCENTS = (1, 2, 5, 10, 25, 50, 100)  # nested class-balanced subsets, fixed by the keys
MANY_CLASSES = 1000  # from here on, tune takes MANY_TUNE images per class, as on ILSVRC
MANY_TUNE = 50
Validation = Literal["tune", "train"]


def dataset_from_prepared(
    prepared: PreparedDataset,
    *,
    title: str,
    test_fraction: float,
    split_seed: int,
    train_percent: int = 100,
    validation: Validation = "tune",
) -> Dataset:
    """Return the dataset of a prepared source.

    The part `test` is scored, else `val`. With train and test, `val` is the tune split. Notes of
    the dataset say what was held out or left out.

    Parameters
    ----------
    prepared : PreparedDataset
    title : str
        The name in tables.
    test_fraction : float
        Share of each class to hold out for testing if there is neither a test nor a val part.
    split_seed : int
        Determines, with the content of the images, which ones are held out.
    train_percent : int
        Share of each class of the training images to keep, selected by key.
    validation : {"tune", "train"}
        What a validation part is beside a train and a test part.

    Raises
    ------
    UserError
        If a class has too few images to hold some out, or no test image is of a class in train.
    """
    train, test, notes = _train_and_test(prepared, test_fraction, split_seed)
    train = _decodable(train)
    tune = _tune_part(prepared, validation, notes)
    if tune and validation == "train":
        train, tune = join_labeled(train, tune), None
    if train_percent != 100:
        train = train.subset(train_percent / 100)
        tune = tune and tune.subset(train_percent / 100)
        notes.append(f"{train_percent} % of the training images of each class, selected by key")
    many_classes = train.num_classes >= MANY_CLASSES
    takes_many = many_classes and np.bincount(train.labels).min() > MANY_TUNE
    notes += prepared.manifest["dataset_notes"]
    notes += image_notes(prepared)
    return Dataset(
        title=title,
        train=train,
        test=test,
        tune_per_class=MANY_TUNE if takes_many else None,
        dataset_notes=tuple(notes),
        tune=tune,
    )


def _decodable(split: Split) -> Split:
    return split.take(np.flatnonzero(split.rows >= 0))


def _tune_part(prepared: PreparedDataset, validation: Validation, notes: list[str]) -> Split | None:
    """Return the validation part if it is neither scored nor all there is; add a note on it."""
    if not {"train", "val", "test"} <= {*prepared.parts}:
        return None
    tune = _decodable(prepared.split("val"))
    use = "the tune split, unless tune is given a number"
    if validation == "train":
        use = "added to train"
    notes.append(f"{_folder_name(prepared, 'val')} ({len(tune):,} images) is {use}")
    return tune


def _folder_name(prepared: PreparedDataset, part: str) -> str:
    """Return what a part is called in the source."""
    names: dict[str, str] = prepared.manifest.get("part_folders", {})
    return names.get(part, f"{part}/")


def join_labeled(train: Split, tune: Split) -> Split:
    """Return two disjoint splits as one, in which copies of an image have different keys."""
    both = train + tune
    hashes = np.array([key[:HASH_DIGITS] for key in both.keys.tolist()])
    both.keys = number_duplicates(hashes, both.labels)
    return both


def _train_and_test(
    prepared: PreparedDataset, test_fraction: float, split_seed: int
) -> tuple[Split, Split, list[str]]:
    """Return (train, test, notes). Without a train part, images outside any part are trained on."""
    parts = prepared.parts
    test_part = next((part for part in ("test", "val") if part in parts), None)
    train_part = next((part for part in ("train", UNSPLIT) if part in parts), None)
    used = [part for part in (train_part, test_part) if part]
    if train_part == "train" and test_part == "test":
        used.append("val")  # see _tune_part
    is_complete = train_part and test_part
    reason = f": {_folder_name(prepared, test_part or '')} is the test split" if is_complete else ""
    unused = [
        f"{_folder_name(prepared, part)} is not used{reason}" for part in parts if part not in used
    ]
    if train_part and test_part:
        return prepared.split(train_part), prepared.split(test_part), unused
    (part,) = used
    train, test = holdout_split(prepared.split(part), test_fraction, split_seed)
    only = f"only {_folder_name(prepared, part)} found"
    reason = "no test part" if part == UNSPLIT or unused else only
    held_out = f"a class-balanced {test_fraction:.0%} (seed {split_seed}) is the test split"
    return train, test, [f"{reason}: {held_out}", *unused]


def holdout_split(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """Hold out a share of each class.

    The choice depends on the seed and the keys alone, so it is the same for any order of files.
    Duplicates within a class stay on one side.

    Parameters
    ----------
    split : Split
    fraction : float
        Share of each class; at least one image.
    seed : int

    Returns
    -------
    train, test : Split

    Raises
    ------
    UserError
        If a class has no two different images.
    """
    is_held_out = np.zeros(len(split), dtype=bool)
    for label, members in shuffled_members(split, seed):
        duplicates: dict[str, list[int]] = {}
        for member in members:
            content_hash = str(split.keys[member]).partition("-")[0]
            duplicates.setdefault(content_hash, []).append(member)
        if len(duplicates) < 2:
            copies = " and copies of it" if len(members) > 1 else ""
            raise UserError(
                f"class {split.class_names[label]!r} has one image only{copies}; "
                "without a test part each class needs at least two"
            )
        *groups, _ = duplicates.values()  # the last group always stays in train
        wanted = max(1, round(fraction * len(members)))
        held_out: list[int] = []
        while groups and len(held_out) < wanted:
            held_out += groups.pop(0)
        is_held_out[held_out] = True
    return split.take(np.flatnonzero(~is_held_out)), split.take(np.flatnonzero(is_held_out))


def shuffled_members(split: Split, seed: int) -> list[tuple[int, list[int]]]:
    """Shuffle the images of each class.

    Returns
    -------
    members : list of (label, positions)
        For each label that occurs; the order depends on the seed and the keys alone.
    """
    members_of_labels = []
    for label in np.unique(split.labels).tolist():
        members = np.flatnonzero(split.labels == label)
        members = members[np.argsort(split.keys[members])].tolist()
        random.Random(f"{seed} {label}").shuffle(members)
        members_of_labels.append((label, members))
    return members_of_labels
