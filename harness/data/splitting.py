"""From the parts of a store to the train and test splits of a dataset."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from harness.data.sources import WHOLE
from harness.data.split import Dataset, Split
from harness.data.store import Store
from harness.errors import UserError

PERCENTS = (1, 2, 5, 10, 25, 50, 100)  # of train: nested, class-balanced, fixed by the keys
MANY_CLASSES = 1000  # from here on tune is 50 images a class, as on ILSVRC, else 10 % of each
LISTED = 5  # undecodable images that a remark names


def dataset_of(
    store: Store, *, title: str, test_fraction: float, split_seed: int, train_percent: int = 100
) -> Dataset:
    """The part `test` (else `val`) is scored; without either, `test_fraction` of each class, drawn by `split_seed` and the images' content.

    Remarks say what was drawn or left out. Raises UserError where a class has too few images to be cut.
    """
    train, test, dataset_notes = _parts(store, test_fraction, split_seed)
    train = train.take(np.flatnonzero(train.rows >= 0))
    dataset_notes += _unknown_classes(train, test)
    if train_percent != 100:
        train = train.subset(train_percent / 100)
        dataset_notes.append(
            f"{train_percent} % of the training images of each class, chosen by key"
        )
    return Dataset(
        title=title,
        train=train,
        test=test,
        tune_per_class=50
        if train.num_classes >= MANY_CLASSES and np.bincount(train.labels).min() > 50
        else None,
        dataset_notes=(
            *dataset_notes,
            *store.facts["dataset_notes"],
            *_undecodable(store.undecodable),
        ),
    )


def _parts(store: Store, test_fraction: float, split_seed: int) -> tuple[Split, Split, list[str]]:
    """(train, test, dataset_notes). Images that name no part are those to learn from where there is no train."""
    test_part = next((part for part in ("test", "val") if part in store.parts), None)
    train_part = next((part for part in ("train", WHOLE) if part in store.parts), None)
    used = [part for part in (train_part, test_part) if part]
    why = f": {test_part}/ is the test split" if train_part and test_part else ""
    unused = [f"{part}/ is not used{why}" for part in store.parts if part not in used]
    if train_part and test_part:
        return store.split(train_part), store.split(test_part), unused
    (part,) = used
    train, test = drawn(store.split(part), test_fraction, split_seed)
    why = "no test part" if part == WHOLE or unused else f"only {part}/ found"
    return (
        train,
        test,
        [
            f"{why}: a class-balanced {test_fraction:.0%} (seed {split_seed}) is the test split",
            *unused,
        ],
    )


def _unknown_classes(train: Split, test: Split) -> list[str]:
    """A remark on test images of classes that have no training images. Raises UserError where all are."""
    unknown = np.setdiff1d(test.labels, train.labels)
    count = int(np.isin(test.labels, unknown).sum())
    if not count:
        return []
    such = f"without training images, such as {test.class_names[unknown[0]]!r}"
    if count == len(test):
        raise UserError(
            f"all {count:,} test images are of classes {such}: give the folders of a class the same name in both parts, or take the test part away"
        )
    return [
        f"{count:,} of {len(test):,} test images are of classes {such}: every pipeline errs on them"
    ]


def drawn(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """(train, test). The draw depends on seed and keys alone, so it is the same for any order of the files. Equal images of a class stay
    together.
    """
    taken = np.zeros(len(split), dtype=bool)
    for label, members in members_by_class(split, seed):
        copies: dict[str, list[int]] = {}
        for member in members:
            copies.setdefault(str(split.keys[member]).partition("-")[0], []).append(member)
        if len(copies) < 2:
            raise UserError(
                f"class {split.class_names[label]!r} has one image only{' and copies of it' if len(members) > 1 else ''}; "
                f"without a test part each class needs at least two"
            )
        *groups, _ = copies.values()
        chosen: list[int] = []
        while groups and len(chosen) < max(1, round(fraction * len(members))):
            chosen += groups.pop(0)
        taken[chosen] = True
    return split.take(np.flatnonzero(~taken)), split.take(np.flatnonzero(taken))


def members_by_class(split: Split, seed: int) -> list[tuple[int, list[int]]]:
    """(label, positions of its images in an order drawn by seed and keys), for each label that occurs."""
    shuffled = []
    for label in np.unique(split.labels).tolist():
        members = np.flatnonzero(split.labels == label)
        members = members[np.argsort(split.keys[members])].tolist()
        random.Random(f"{seed} {label}").shuffle(members)
        shuffled.append((label, members))
    return shuffled


def _undecodable(images: Sequence[tuple[str, str, str]]) -> list[str]:
    dataset_notes = [f"cannot be decoded: {name} ({why})" for _, name, why in images[:LISTED]]
    if (more := len(images) - LISTED) > 0:
        dataset_notes.append(f"... and {more} more that cannot be decoded")
    return dataset_notes
