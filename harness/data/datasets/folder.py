"""Your own images: a folder or tar with train/ and test/ (or val/) trees of class folders, or class folders alone."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Lt

from harness.contract import Dataset, Split
from harness.errors import UserError


def build(
    root: Path,
    *,
    path: str,
    size: Annotated[int, Ge(8)] = 256,
    test_fraction: Annotated[float, Gt(0), Lt(1)] = 0.2,
    split_seed: int = 0,
) -> Dataset:
    """Every image in RGB, its shorter side brought down to `size` pixels, aspect kept; smaller images stay as they are.

    Without a test part, `test_fraction` of each class is drawn by `split_seed` and the content of the images, and a remark says so.
    Files that cannot be decoded are left out of train, and count as errors in test; a remark counts them.
    Raises UserError when there is no such path, no class folders, fewer than two classes, or the archive is damaged.
    """
    from harness.data.sources.class_folders import ClassFolders
    from harness.data.store import prepare
    from harness.progress import progress

    source = ClassFolders(Path(path).expanduser())
    store = prepare(source, root, size=size, progress=progress)
    if len(store.facts["class_names"]) < 2:
        raise UserError(
            f"{path} holds one class only ({store.facts['class_names'][0]}); a classifier needs at least two class folders"
        )
    remarks = []
    if "train" in store.parts and len(store.parts) > 1:
        test_part = "test" if "test" in store.parts else "val"
        train, test = store.split("train"), store.split(test_part)
        if unused := set(store.parts) - {"train", test_part}:
            remarks.append(f"{unused.pop()}/ is not used: {test_part}/ is the test split")
    elif len(store.parts) > 1 or store.parts[0] != "all":
        train, test = _halves(store.split(store.parts[0]), test_fraction, split_seed)
        remarks.append(
            f"only {store.parts[0]}/ found: a class-balanced {test_fraction:.0%} of it (seed {split_seed}) is the test split"
        )
    else:
        train, test = _halves(store.split("all"), test_fraction, split_seed)
        remarks.append(f"no test part: a class-balanced {test_fraction:.0%} (seed {split_seed}) is the test split")
    train = train.take((train.rows >= 0).nonzero()[0])
    for name, why in store.facts["undecodable"][:5]:
        remarks.append(f"cannot be decoded: {name} ({why})")
    if (more := len(store.facts["undecodable"]) - 5) > 0:
        remarks.append(f"... and {more} more that cannot be decoded")
    return Dataset(title=f"{source.path.name.split('.')[0]} (folder)", train=train, test=test, remarks=tuple(remarks))


def _halves(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """(train, test). The draw depends on seed and keys alone, so it is the same for any order of the files."""
    import numpy as np

    taken = np.zeros(len(split), dtype=bool)
    for label in np.unique(split.labels):
        members = np.flatnonzero(split.labels == label)
        if len(members) < 2:
            raise UserError(
                f"class {split.class_names[label]!r} has one image only; without a test part each class needs at least two"
            )
        members = members[np.argsort(split.keys[members])].tolist()
        random.Random(f"{seed} {label}").shuffle(members)
        taken[members[: min(len(members) - 1, max(1, round(fraction * len(members))))]] = True
    return split.take(np.flatnonzero(~taken)), split.take(np.flatnonzero(taken))
