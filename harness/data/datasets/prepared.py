"""A dataset made by `harness prepare`; its name alone is short for `prepared,name=NAME`."""

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
    validation: Literal["tune", "train"] = "tune",
) -> Dataset:
    """Open a prepared dataset.

    Parameters
    ----------
    name
        Its name in the data root.
    train_percent
        Share of each class of the training images, selected by key: the same images on every
        machine, and the 10 % are part of the 25 %.
    test_fraction
        Share of each class to hold out for testing if there is no test part; a note says so.
    split_seed
        Determines, with the content of the images, which ones are held out.
    validation
        What a validation part is if there are a train and a test part, too: the tune split, or
        part of train.

    Raises
    ------
    UserError
        If no dataset of that name is prepared, or an earlier version converted its images
        otherwise.
    """
    from harness.data.prepared_dataset import open_prepared
    from harness.data.splitting import dataset_from_prepared

    prepared = open_prepared(root, name)
    prepared.require_current()
    return dataset_from_prepared(
        prepared,
        title=name,
        test_fraction=test_fraction,
        split_seed=split_seed,
        train_percent=train_percent,
        validation=validation,
    )
