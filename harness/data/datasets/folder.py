"""Your own images: a folder or archive with class folders in train/ and test/ (or val/).

Every other layout that `harness prepare` reads is accepted as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt

from harness.data.split import Dataset


def build(
    root: Path,
    *,
    path: str,
    size: Annotated[int, Ge(8)] = 256,
    test_fraction: Annotated[float, Gt(0), Lt(1)] = 0.2,
    split_seed: int = 0,
    validation: Literal["tune", "train"] = "tune",
    class_level: Literal["top", "leaves"] = "top",
) -> Dataset:
    """Decode every image to RGB and prepare it once.

    Files that cannot be decoded are left out of train and count as errors in test; a note says how
    many.

    Parameters
    ----------
    path
        The folder or archive.
    size
        Upper limit of the shorter side, in pixels; smaller images keep their size.
    test_fraction
        Share of each class to hold out for testing if there is no test part; a note says so.
    split_seed
        Determines, with the content of the images, which ones are held out.
    validation
        What a validation part is if there are a train and a test part, too: the tune split, or
        part of train.
    class_level
        Of class folders with sub-folders: top joins them with their class; leaves makes a class of
        every folder that directly holds images.

    Raises
    ------
    UserError
        If the path does not exist, there are no class folders or fewer than two classes, or the
        archive is damaged.
    """
    from harness.data.prepare import prepare
    from harness.data.sources import open_source
    from harness.data.splitting import dataset_from_prepared
    from harness.progress import progress

    source = open_source(Path(path), class_level)
    prepared = prepare(source, root, size=size, progress=progress)
    title = f"{source.path.name.split('.')[0]} (folder)"
    return dataset_from_prepared(
        prepared,
        title=title,
        test_fraction=test_fraction,
        split_seed=split_seed,
        validation=validation,
    )
