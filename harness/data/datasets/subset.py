"""A part of another dataset's training images, drawn by a seed: the points of a learning curve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from annotated_types import Gt, Le

from harness.data.split import Dataset


def build(
    root: Path, *, of: str, percent: Annotated[float, Gt(0), Le(100)], seed: int = 0
) -> Dataset:
    """`percent` of each class of the training images of `of` (a spec, or a path), at least one, drawn by `seed` and the images' content: of
    one seed the 10 % lie inside the 25 %. The tune split is held out of that part, 10 % of each class; the test split stays whole.

    Raises UserError where `of` cannot be had. Datasets of --plugins are not reached.
    """
    import numpy as np

    from harness.data.load import load_whole
    from harness.data.splitting import members_by_class
    from harness.registry import open_registry

    _, whole = load_whole(of, open_registry(), root)
    drawn = [
        position
        for _, members in members_by_class(whole.train, seed)
        for position in members[: max(1, round(percent / 100 * len(members)))]
    ]
    share = f"{len(drawn):,} of {len(whole.train):,} images, {percent:g} % of each class"
    return Dataset(
        title=f"{whole.title}, {percent:g} % of train (subset seed {seed})",
        train=whole.train.take(np.sort(drawn)),
        test=whole.test,
        dataset_notes=(*whole.dataset_notes, f"train: {share}, drawn by subset seed {seed}"),
    )
