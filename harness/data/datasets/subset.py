"""A random share of another dataset's training images: a point of a learning curve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from annotated_types import Gt, Le

from harness.data.split import Dataset, Split


def build(
    root: Path, *, of: str, percent: Annotated[float, Gt(0), Le(100)], seed: int = 0
) -> Dataset:
    """Take a share of each class of the training images; the test split stays complete.

    The tune split is held out of that share, 10 % of each class, or is the same share of the
    dataset's validation part.

    Parameters
    ----------
    of
        The other dataset: a spec or a path. Datasets of plugins are not found.
    percent
        Share of each class; at least one image.
    seed
        Determines, with the content of the images, which ones are taken. With the same seed, the
        10 % are part of the 25 %.

    Raises
    ------
    UserError
        If the other dataset cannot be loaded.
    """
    import numpy as np

    from harness.data.load import load_whole
    from harness.data.splitting import shuffled_members
    from harness.registry import open_registry

    _, complete = load_whole(of, open_registry(), root)

    def take_share(split: Split) -> Split:
        chosen: list[int] = []
        for _, members in shuffled_members(split, seed):
            chosen += members[: max(1, round(percent / 100 * len(members)))]
        return split.take(np.sort(chosen))

    train = take_share(complete.train)
    share = f"{len(train):,} of {len(complete.train):,} images, {percent:g} % of each class"
    return Dataset(
        title=f"{complete.title}, {percent:g} % of train (subset seed {seed})",
        train=train,
        test=complete.test,
        dataset_notes=(*complete.dataset_notes, f"train: {share}, drawn by subset seed {seed}"),
        tune=complete.tune and take_share(complete.tune),
    )
