"""From a dataset spec to the three splits of a run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.data.identity import class_balanced
from harness.data.split import Dataset, Split
from harness.errors import UserError
from harness.registry import Registry
from harness.spec import format_spec

DEFAULT = "digits"
DatasetSource = str | tuple[Split, Split] | Dataset | None
"""A spec or path, a (train, test) pair, a Dataset; None: HARNESS_DATASET, else digits."""


@dataclass(frozen=True)
class Splits:
    """A dataset cut for one run: train and tune are disjoint, and together what a pipeline may learn from."""

    spec: str
    title: str
    train: Split
    tune: Split | None
    test: Split
    dataset_notes: tuple[str, ...]

    @property
    def fit_digest(self) -> str:
        """The digest of train + tune."""
        return (self.train + self.tune if self.tune else self.train).digest


def dataset_spec(given: str | None, registry: Registry, root: Path) -> str:
    """The spec string asked for: given, else HARNESS_DATASET, else digits. The name of a prepared store below the data root `root` means
    `prepared,name=...`, a path `folder,path=...`.

    Raises UserError for a path that does not exist.
    """
    spec = given or os.environ.get("HARNESS_DATASET") or DEFAULT
    name, comma, parameters = spec.partition(",")
    path = Path(spec).expanduser()
    if name in registry.entries["dataset"]:
        return spec
    if "/" not in name and (root / "stores" / name / "store.json").exists():
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
    """The splits of `dataset`: a spec string, a path, a Dataset or a (train, test) pair.

    tune        images a class to hold out of train; 0 for none; None for the dataset's own number, else 10 % of each class
    limit       at most so many labeled images in all (train and tune), class-balanced; the test split stays whole
    limit_test  at most so many test images, class-balanced
    Raises UserError for an unknown dataset, a wrong parameter, or a limit below one image a class.
    """
    spec, whole = load_whole(dataset, registry, root)
    train, test = whole.train, whole.test
    if limit is not None:
        train = _limited(train, limit, "--limit")
    if limit_test is not None:
        test = _limited(test, limit_test, "--limit-test")
    held_out: Split | None = None
    if tune != 0:
        per_class = tune if tune is not None else whole.tune_per_class
        chosen, rest = class_balanced(
            train.keys, train.labels, per_class=per_class, fraction=None if per_class else 0.1
        )
        if len(np.unique(train.labels[rest])) < len(np.unique(train.labels)):
            raise UserError(
                f"the tune split takes {f'{per_class} images' if per_class else '10 % (at least one image)'} of each class, which leaves some "
                f"class of {whole.title} without training images ({len(train)} in all); use more images or --tune 0"
            )
        train, held_out = train.take(rest), train.take(chosen)
    return Splits(spec, whole.title, train, held_out, test, whole.dataset_notes)


def load_whole(dataset: DatasetSource, registry: Registry, root: Path) -> tuple[str, Dataset]:
    """(resolved spec, dataset), before anything is limited or held out. Raises UserError for an unknown dataset or a wrong parameter."""
    if isinstance(dataset, Dataset):
        name = dataset.title.replace(",", " ").replace('"', " ")  # a spec gives these two a meaning
        return f"object:{name}", _agreeing(dataset.title, dataset)
    if isinstance(dataset, tuple):
        return "object:splits", _agreeing("splits in memory", Dataset("splits in memory", *dataset))
    resolved = registry.resolve("dataset", dataset_spec(dataset, registry, root))
    entry, spec = resolved.entry, resolved.spec
    loaded = resolved.make(root)
    if not isinstance(loaded, Dataset):
        raise UserError(
            f"dataset {entry.name!r} ({entry.origin}): build returned {type(loaded).__name__}, not a Dataset"
        )
    return spec, _agreeing(spec, loaded)


def _agreeing(name: str, dataset: Dataset) -> Dataset:
    """The dataset, whose two parts must number the same classes alike. Raises UserError where they do not."""
    train, test = dataset.train.class_names, dataset.test.class_names
    if train != test:
        place = next((i for i, (a, b) in enumerate(zip(train, test, strict=False)) if a != b), None)
        said = (
            f"{len(train)} and {len(test)} classes"
            if place is None
            else f"class {place} is {train[place]!r} in the one, {test[place]!r} in the other"
        )
        raise UserError(
            f"{name}: train and test have different classes ({said}); give both the same class names in the same order"
        )
    return dataset


def _limited(split: Split, limit: int, flag: str) -> Split:
    classes = len(np.unique(split.labels))
    if limit < classes:
        raise UserError(
            f"{flag} {limit} is less than one image for each of the {classes} classes; give at least {classes}"
        )
    return split.take(class_balanced(split.keys, split.labels, total=limit)[0])
