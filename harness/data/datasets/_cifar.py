"""What CIFAR-10 and CIFAR-100 have in common: the official Python archive, read by torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.data.split import Dataset, Split
from harness.errors import UserError


def load_cifar(reader: Any, folder: Path, *, title: str) -> Dataset:
    """Load a CIFAR dataset from `folder`, after downloading it if necessary.

    Parameters
    ----------
    reader : type
        torchvision's dataset class, which verifies checksums.
    folder : Path
    title : str

    Raises
    ------
    UserError
        If the files are missing and cannot be downloaded.
    """
    import numpy as np

    try:
        loaded = [_open_or_download(reader, folder, train=train) for train in (True, False)]
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"{title} is not in {folder} and could not be downloaded ({error}). "
            f"Put {reader.filename} there (MD5 {reader.tgz_md5}, from {reader.url}), "
            f"or set data_root or HARNESS_DATA to a folder whose subfolder {folder.name} has it"
        ) from error
    train, test = (
        Split.from_arrays(
            part.data,
            np.array(part.targets),
            class_names=part.classes,
            preparation="size=32 resize=none codec=raw quality=lossless",
        )
        for part in loaded
    )
    return Dataset(title=title, train=train, test=test)


def _open_or_download(reader: Any, folder: Path, *, train: bool) -> Any:
    try:
        # download=True would print about the download even if the files exist
        return reader(folder, train=train, download=False)
    except RuntimeError:
        folder.mkdir(parents=True, exist_ok=True)
        return reader(folder, train=train, download=True)
