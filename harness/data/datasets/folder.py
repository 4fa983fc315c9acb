"""Your own images: a folder or archive with train/ and test/ (or val/) trees of class folders, or any other layout that prepare knows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Lt

from harness.data.split import Dataset


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
    from harness.data.prepare import prepare
    from harness.data.sources import open_source
    from harness.data.splitting import dataset_of
    from harness.progress import progress

    source = open_source(Path(path))
    store = prepare(source, root, size=size, progress=progress)
    title = f"{source.path.name.split('.')[0]} (folder)"
    return dataset_of(store, title=title, test_fraction=test_fraction, split_seed=split_seed)
