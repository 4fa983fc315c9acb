"""CIFAR-10: 50,000 training and 10,000 test images of 32x32 in 10 classes (Krizhevsky 2009), the official download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.contract import Dataset, Split
from harness.errors import UserError


def build(root: Path) -> Dataset:
    """torchvision's copy of the official Python archive, checksummed; looked for in the data root before it is downloaded.

    Raises UserError when it is neither there nor to be had.
    """
    import numpy as np
    from torchvision.datasets import CIFAR10

    folder = root / "cifar10"
    try:
        parts = [_open(CIFAR10, folder, train=train) for train in (True, False)]
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"CIFAR-10 is not in {folder} and could not be downloaded ({error}). Put {CIFAR10.filename} there "
            f"(MD5 {CIFAR10.tgz_md5}, from {CIFAR10.url}), or give --data-root or HARNESS_DATA the folder above one that has it"
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
    return Dataset(title="cifar10", train=train, test=test)


def _open(cifar10: type, folder: Path, *, train: bool) -> Any:
    """Without a word of download when the files are there."""
    try:
        return cifar10(folder, train=train, download=False)
    except RuntimeError:
        folder.mkdir(parents=True, exist_ok=True)
        return cifar10(folder, train=train, download=True)
