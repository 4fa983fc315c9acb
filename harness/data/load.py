"""From a dataset spec to the train, tune and test splits of a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from harness.data.class_names import appearance, distinguish
from harness.data.copies import are_among, label_conflict_notes
from harness.data.identity import select_class_balanced
from harness.data.prepared_dataset import prepared_names
from harness.data.split import Dataset, Split
from harness.data.splitting import join_labeled
from harness.errors import UserError
from harness.registry import Registry
from harness.render.text import brief, printable
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
        If it is a path that does not exist, or empty.
    """
    chosen = dataset if dataset is not None else os.environ.get("HARNESS_DATASET")
    if chosen is not None and not chosen.strip():
        owner = "HARNESS_DATASET" if dataset is None else "dataset"
        raise UserError(f"{owner} is empty; give a spec, a name or a path, or leave it unset")
    spec = chosen or DEFAULT_DATASET
    name, comma, parameters = spec.partition(",")
    path = Path(spec).expanduser()
    if name in registry.entries["dataset"]:
        return spec
    if name in prepared_names(root):
        return f"prepared,name={name}{comma}{parameters}"
    if _exists(path):
        return format_spec("folder", {"path": path.resolve()})
    if "/" in name or name.startswith(("~", ".")):
        origin = "" if dataset else "HARNESS_DATASET: "
        raise UserError(f"{origin}there is no folder or archive {brief(spec)}")
    if not dataset and spec != DEFAULT_DATASET:
        names = ", ".join(registry.names("dataset"))
        raise UserError(
            f"HARNESS_DATASET={brief(spec)!r} is neither a folder nor a dataset; unset it, or "
            f"choose from: {names}"
        )
    return spec


def _exists(path: Path) -> bool:
    """Whether there is such a file or folder; a name that cannot be one is none."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or with a NUL
        return False


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
        Images per class to hold out of train; 0 for no tune split. Default: the dataset's
        validation part or its own number, else 10 % of each class. With a number, a validation
        part belongs to train.
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
    held_out, notes = loaded.tune, loaded.dataset_notes
    if held_out is not None and tune is not None:
        train, held_out = join_labeled(train, held_out), None
        notes = (*notes, f"tune={tune}: the validation part is added to train before")
    if limit is not None:
        train, held_out = _limit_labeled(train, held_out, limit)
    if limit_test is not None:
        test = _limit_images(test, limit_test, "limit_test")
    if held_out is None and tune != 0:
        per_class = loaded.tune_per_class if tune is None else tune
        train, held_out = _hold_out_tune(train, per_class, loaded.title)
    notes = tuple(map(printable, (*notes, *_label_notes(train, held_out, test))))
    return Splits(spec, printable(loaded.title), train, held_out, test, notes)


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


def _label_notes(train: Split, tune: Split | None, test: Split) -> tuple[str, ...]:
    """Return notes on classes without training images and on copies with different labels."""
    labeled = [split for split in (train, tune) if split]
    keys = np.concatenate([split.keys for split in labeled])
    labels = np.concatenate([split.labels for split in labeled])
    return (
        *_unknown_class_notes(train, test, "test"),
        *(_unknown_class_notes(train, tune, "tune") if tune else ()),
        *label_conflict_notes(keys, labels, test.keys, test.labels),
    )


def _unknown_class_notes(train: Split, split: Split, name: str) -> list[str]:
    """Return a note on images of classes without training images; raise if all of them are."""
    unknown = np.setdiff1d(split.labels, train.labels)
    count = int(np.isin(split.labels, unknown).sum())
    if not count:
        return []
    example = _name_beside_its_like(split.class_names, unknown[0], np.unique(train.labels))
    classes = f"classes without training images, such as {example}"
    if count == len(split):
        raise UserError(
            f"all {count:,} {name} images are of {classes}: give the folders of a class the same "
            f"name in both parts, or remove the {name} part"
        )
    share = f"{count:,} of {len(split):,} {name} images"
    return [f"{share} are of {classes}: every pipeline misclassifies them"]


def _name_beside_its_like(names: Sequence[str], label: int, trained: np.ndarray) -> str:
    """Return a class name quoted, with the class in train that a reader could take for it."""
    name = names[label]
    like = [names[other] for other in trained if appearance(names[other]) == appearance(name)]
    if not like:
        return repr(name)
    shown, shown_like = distinguish(name, like[0])
    return f"{shown} (train has {shown_like})"


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
    if dataset.tune is not None and dataset.tune.class_names != train:
        raise UserError(f"{name}: train and tune have different classes; give both the same ones")
    if train == test:
        return dataset
    pairs = enumerate(zip(train, test, strict=False))
    label = next((i for i, (in_train, in_test) in pairs if in_train != in_test), None)
    if label is None:
        difference = f"{len(train)} and {len(test)} classes"
    else:
        in_train, in_test = distinguish(train[label], test[label])
        difference = f"class {label} is {in_train} in train, {in_test} in test"
    raise UserError(
        f"{name}: train and test have different classes ({difference}); "
        "give both the same class names in the same order"
    )


def _limit_labeled(train: Split, tune: Split | None, limit: int) -> tuple[Split, Split | None]:
    """Limit train and tune together, each in proportion to its size."""
    if tune is None:
        return _limit_images(train, limit, "limit"), None
    least = [len(np.unique(split.labels)) for split in (train, tune)]
    if limit < sum(least):
        raise UserError(
            f"limit={limit} is less than one image for each of the {least[0]} classes of train "
            f"and the {least[1]} of the validation part; give at least {sum(least)}, or tune=0"
        )
    share = round(limit * len(tune) / (len(train) + len(tune)))
    share = min(max(share, least[1]), limit - least[0])
    return _limit_images(train, limit - share, "limit"), _limit_images(tune, share, "limit")


def _limit_images(split: Split, limit: int, parameter: str) -> Split:
    classes = len(np.unique(split.labels))
    if limit < classes:
        raise UserError(
            f"{parameter}={limit} is less than one image for each of the {classes} classes; "
            f"give at least {classes}"
        )
    return split.take(select_class_balanced(split.keys, split.labels, total=limit)[0])
