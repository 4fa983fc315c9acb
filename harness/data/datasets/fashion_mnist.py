"""Fashion-MNIST: 60,000 training and 10,000 test images of 28x28 in 10 classes (Xiao et al. 2017); the download, or Debian's package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.data.split import Dataset, Split
from harness.errors import UserError

DEBIAN = Path(
    "/usr/share/datasets/fashion-mnist"
)  # where the package dataset-fashion-mnist puts the four files


def build(root: Path) -> Dataset:
    """The four official IDX files, plain or .gz: from `fashion-mnist` in the data root, else from `/usr/share/datasets/fashion-mnist`, where
    Debian's package dataset-fashion-mnist puts them, else downloaded by torchvision, which checks their MD5. Gray copied to three channels.

    Raises UserError when they are nowhere, or damaged.
    """
    from torchvision.datasets import FashionMNIST

    folder = root / "fashion-mnist"
    found = next(filter(_whole, [folder, folder / "FashionMNIST" / "raw", DEBIAN]), None)
    if found is None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            FashionMNIST(folder, download=True)
        except (OSError, RuntimeError) as error:
            files = ", ".join(f"{name} (MD5 {md5})" for name, md5 in FashionMNIST.resources)
            raise UserError(
                f"Fashion-MNIST is neither in {folder} nor in {DEBIAN} (Debian: apt install dataset-fashion-mnist) and could not be "
                f"downloaded ({error}). Put {files} there, from {FashionMNIST.mirrors[0]}"
            ) from error
        found = folder / "FashionMNIST" / "raw"
    train, test = (_split(found, part, FashionMNIST.classes) for part in ("train", "t10k"))
    return Dataset(title="fashion-mnist", train=train, test=test)


def _files(folder: Path, part: str) -> list[Path | None]:
    """[images, labels] of a part, plain before packed; None for what is not there."""
    names = [f"{part}-{what}-ubyte" for what in ("images-idx3", "labels-idx1")]
    return [
        next(
            (folder / f"{name}{end}" for end in ("", ".gz") if (folder / f"{name}{end}").exists()),
            None,
        )
        for name in names
    ]


def _whole(folder: Path) -> bool:
    return None not in [*_files(folder, "train"), *_files(folder, "t10k")]


def _split(folder: Path, part: str, class_names: list[str]) -> Split:
    images, labels = (_read(file) for file in _files(folder, part) if file)
    preparation = "size=28 resize=none codec=raw quality=lossless"
    return Split.from_arrays(images, labels, class_names=class_names, preparation=preparation)


def _read(file: Path) -> Any:
    """The array of an IDX file of bytes: two zeros, 8 for uint8, the number of axes, each axis as a big-endian 32-bit number, the values."""
    import gzip
    import math
    import zlib

    import numpy as np

    try:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        shape = np.frombuffer(data, ">u4", count=data[3], offset=4).tolist()
        if data[:3] != b"\0\0\x08" or len(data) != 4 + 4 * len(shape) + math.prod(shape):
            raise ValueError("no whole IDX file of bytes")
    except (OSError, EOFError, zlib.error, ValueError, IndexError) as error:
        raise UserError(f"{file} is damaged ({error}); remove it and download it again") from error
    return np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape)).reshape(shape).copy()
