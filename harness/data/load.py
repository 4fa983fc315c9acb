"""From a dataset spec to the train, tune and test splits of a run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from harness.data.copies import are_among, label_conflict_notes
from harness.data.identity import select_class_balanced
from harness.data.prepared_dataset import prepared_names
from harness.data.split import Dataset, Split
from harness.errors import UserError
from harness.registry import Registry
from harness.spec import format_spec

DEFAULT_DATASET = "digits"
TUNE_FRACTION = 0.1  # of each class, unless the dataset or the user says otherwise
DatasetSource = str | tuple[Split, Split] | Dataset | None
"""A spec or path, a (train, test) pair, a Dataset, or None for HARNESS_DATASET, else digits."""


@dataclass(frozen=True)
class Splits:
    """The splits of a dataset for one run.

    Attributes
    ----------
    spec : str
        The full spec of the dataset; `object:TITLE` for one given as an object.
    title : str
    train, tune : Split
        Disjoint; a pipeline may learn from both. `tune` is None if none was held out.
    test : Split
    dataset_notes : tuple of str
        What a reader of the numbers must know about the splits.
    """

    spec: str
    title: str
    train: Split
    tune: Split | None
    test: Split
    dataset_notes: tuple[str, ...]

    @property
    def fit_digest(self) -> str:
        """The digest of train and tune together."""
        return (self.train + self.tune if self.tune else self.train).digest

    @cached_property
    def test_in_train(self) -> np.ndarray:
        """(n,) bool: whether each test image is also among those of train or tune, by key."""
        parts = [split.keys for split in (self.train, self.tune) if split]
        return are_among(self.test.keys, np.concatenate(parts))


def dataset_spec(dataset: str | None, registry: Registry, root: Path) -> str:
    """Return the spec string of a dataset.

    Parameters
    ----------
    dataset : str or None
        A spec; the name of a prepared dataset, short for `prepared,name=NAME`; or a path, short
        for `folder,path=PATH`. None: HARNESS_DATASET, else digits.
    registry : Registry
    root : Path
        The data root.

    Raises
    ------
    UserError
        If it is a path that does not exist.
    """
    spec = dataset or os.environ.get("HARNESS_DATASET") or DEFAULT_DATASET
    name, comma, parameters = spec.partition(",")
    path = Path(spec).expanduser()
    if name in registry.entries["dataset"]:
        return spec
    if name in prepared_names(root):
        return f"prepared,name={name}{comma}{parameters}"
    if path.exists():
        return format_spec("folder", {"path": path.resolve()})
    if "/" in name or name.startswith(("~", ".")):
        raise UserError(f"there is no folder or archive {spec}")
    return spec


def load_splits(
    dataset: DatasetSource,
    registry: Registry,
    root: Path,
    *,
    tune: int | None = None,
    limit: int | None = None,
    limit_test: int | None = None,
) -> Splits:
    """Load a dataset and hold out its tune split.

    Parameters
    ----------
    dataset : str, (train, test) pair, Dataset or None
        A spec or path, or the splits themselves. None: HARNESS_DATASET, else digits.
    registry : Registry
    root : Path
        The data root.
    tune : int, optional
        Images per class to hold out of train; 0 for no tune split. Default: the dataset's own
        number, else 10 % of each class.
    limit : int, optional
        Upper limit on the labeled images (train and tune together), class-balanced.
    limit_test : int, optional
        Upper limit on the test images, class-balanced.

    Raises
    ------
    UserError
        If the dataset is unknown, a parameter is wrong, or a limit is below one image per class.
    """
    spec, loaded = load_whole(dataset, registry, root)
    train, test = loaded.train, loaded.test
    if limit is not None:
        train = _limit_images(train, limit, "limit")
    if limit_test is not None:
        test = _limit_images(test, limit_test, "limit_test")
    conflicts = label_conflict_notes(train.keys, train.labels, test.keys, test.labels)
    held_out: Split | None = None
    if tune != 0:
        per_class = loaded.tune_per_class if tune is None else tune
        train, held_out = _hold_out_tune(train, per_class, loaded.title)
    notes = (*loaded.dataset_notes, *conflicts)
    return Splits(spec, loaded.title, train, held_out, test, notes)


def load_whole(dataset: DatasetSource, registry: Registry, root: Path) -> tuple[str, Dataset]:
    """Load a dataset without limiting or holding out anything.

    Returns
    -------
    spec, dataset : str, Dataset
        The full spec and what it stands for.

    Raises
    ------
    UserError
        If the dataset is unknown, a parameter is wrong, or train and test have different classes.
    """
    if isinstance(dataset, Dataset):
        # commas and quotes have a meaning in specs
        name = dataset.title.replace(",", " ").replace('"', " ")
        return f"object:{name}", _check_classes_agree(dataset.title, dataset)
    if isinstance(dataset, tuple):
        pair = Dataset("splits in memory", *dataset)
        return "object:splits", _check_classes_agree(pair.title, pair)
    resolved = registry.resolve("dataset", dataset_spec(dataset, registry, root))
    entry, spec = resolved.entry, resolved.spec
    loaded = resolved.make(root)
    if not isinstance(loaded, Dataset):
        raise UserError(
            f"dataset {entry.name!r} ({entry.origin}): "
            f"build returned {type(loaded).__name__}, not a Dataset"
        )
    return spec, _check_classes_agree(spec, loaded)


def _hold_out_tune(train: Split, per_class: int | None, title: str) -> tuple[Split, Split]:
    """Return (train, tune); raise UserError if a class would have no training images."""
    fraction = None if per_class else TUNE_FRACTION
    chosen, rest = select_class_balanced(
        train.keys, train.labels, per_class=per_class, fraction=fraction
    )
    if len(np.unique(train.labels[rest])) < len(np.unique(train.labels)):
        amount = f"{per_class} images" if per_class else "10 % (at least one image)"
        raise UserError(
            f"the tune split takes {amount} of each class, which leaves a class of {title} "
            f"without training images ({len(train)} images in all); use more images or tune=0"
        )
    return train.take(rest), train.take(chosen)


def _check_classes_agree(name: str, dataset: Dataset) -> Dataset:
    """Return the dataset; raise UserError if train and test have different classes."""
    train, test = dataset.train.class_names, dataset.test.class_names
    if train == test:
        return dataset
    pairs = enumerate(zip(train, test, strict=False))
    label = next((i for i, (in_train, in_test) in pairs if in_train != in_test), None)
    if label is None:
        difference = f"{len(train)} and {len(test)} classes"
    else:
        difference = f"class {label} is {train[label]!r} in train, {test[label]!r} in test"
    raise UserError(
        f"{name}: train and test have different classes ({difference}); "
        "give both the same class names in the same order"
    )


def _limit_images(split: Split, limit: int, parameter: str) -> Split:
    classes = len(np.unique(split.labels))
    if limit < classes:
        raise UserError(
            f"{parameter}={limit} is less than one image for each of the {classes} classes; "
            f"give at least {classes}"
        )
    return split.take(select_class_balanced(split.keys, split.labels, total=limit)[0])
