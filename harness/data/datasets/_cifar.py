"""What CIFAR-10 and CIFAR-100 have in common: torchvision's copy of the official Python archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.data.split import Dataset, Split
from harness.errors import UserError


def cifar(reader: Any, folder: Path, *, title: str) -> Dataset:
    """Looked for in `folder` before it is downloaded there; checksummed. `reader` is torchvision's dataset class.

    Raises UserError when it is neither there nor to be had.
    """
    import numpy as np

    try:
        parts = [_open(reader, folder, train=train) for train in (True, False)]
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"{title} is not in {folder} and could not be downloaded ({error}). Put {reader.filename} there "
            f"(MD5 {reader.tgz_md5}, from {reader.url}), or give --data-root or HARNESS_DATA the folder above one that has it"
        ) from error
    train, test = (
        Split.from_arrays(
            part.data,
            np.array(part.targets),
            class_names=part.classes,
            preparation="size=32 resize=none codec=raw quality=lossless",
        )
        for part in parts
    )
    return Dataset(title=title, train=train, test=test)


def _open(reader: Any, folder: Path, *, train: bool) -> Any:
    """Without a word of download when the files are there."""
    try:
        return reader(folder, train=train, download=False)
    except RuntimeError:
        folder.mkdir(parents=True, exist_ok=True)
        return reader(folder, train=train, download=True)
