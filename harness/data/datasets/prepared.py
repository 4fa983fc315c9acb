"""What `harness prepare` made: `--dataset NAME` is short for `prepared,name=NAME`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Gt, Lt

from harness.data.split import Dataset


def build(
    root: Path,
    *,
    name: str,
    train_percent: Literal[1, 2, 5, 10, 25, 50, 100] = 100,
    test_fraction: Annotated[float, Gt(0), Lt(1)] = 0.2,
    split_seed: int = 0,
) -> Dataset:
    """The store `name` in the data root. `train_percent` of each class, chosen by key: the same images on every machine, and the 10 % lie
    inside the 25 %. A source without a test part is cut by `test_fraction` and `split_seed`, as for a folder.

    Raises UserError when there is no such store.
    """
    from harness.data.splitting import dataset_of
    from harness.data.store import open_store

    store = open_store(root, name)
    return dataset_of(
        store,
        title=name,
        test_fraction=test_fraction,
        split_seed=split_seed,
        train_percent=train_percent,
    )
