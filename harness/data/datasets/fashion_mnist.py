"""Fashion-MNIST: 60,000 training and 10,000 test images, 28x28, 10 classes (Xiao et al. 2017)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.data.split import Dataset, Split
from harness.errors import UserError

# where Debian's package dataset-fashion-mnist installs the four files
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
IDX_UINT8 = b"\0\0\x08"  # the first bytes of an IDX file of unsigned bytes


def build(root: Path) -> Dataset:
    """Load the four official IDX files, plain or .gz.

    They are read from `fashion-mnist` in the data root, else from
    `/usr/share/datasets/fashion-mnist` (Debian's package dataset-fashion-mnist), else downloaded
    by torchvision, which verifies their MD5. Gray is copied to three channels.

    Raises
    ------
    UserError
        If they are missing and cannot be downloaded, or are damaged.
    """
    from torchvision.datasets import FashionMNIST

    folder = root / "fashion-mnist"
    downloads = folder / "FashionMNIST" / "raw"
    candidates = [folder, downloads, DEBIAN_FOLDER]
    complete = next(filter(_is_complete, candidates), None)
    if complete is None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            FashionMNIST(folder, download=True)
        except (OSError, RuntimeError) as error:
            files = ", ".join(f"{name} (MD5 {md5})" for name, md5 in FashionMNIST.resources)
            raise UserError(
                f"Fashion-MNIST is neither in {folder} nor in {DEBIAN_FOLDER} "
                "(Debian: apt install dataset-fashion-mnist) and could not be downloaded "
                f"({error}). Put {files} into {folder}, from {FashionMNIST.mirrors[0]}"
            ) from error
        complete = downloads
    train, test = (_split(complete, part, FashionMNIST.classes) for part in ("train", "t10k"))
    return Dataset(title="fashion-mnist", train=train, test=test)


def _find_files(folder: Path, part: str) -> list[Path | None]:
    """Return the files of images and labels of a part; None for a missing one."""
    files = []
    for content in ("images-idx3", "labels-idx1"):
        plain = folder / f"{part}-{content}-ubyte"
        candidates = (plain, plain.with_name(f"{plain.name}.gz"))
        files.append(next((file for file in candidates if file.exists()), None))
    return files


def _is_complete(folder: Path) -> bool:
    return None not in [*_find_files(folder, "train"), *_find_files(folder, "t10k")]


def _split(folder: Path, part: str, class_names: list[str]) -> Split:
    image_file, label_file = (file for file in _find_files(folder, part) if file)
    images, labels = _read_idx(image_file, axes=3), _read_idx(label_file, axes=1)
    if len(images) != len(labels) or not labels.size or labels.max() >= len(class_names):
        raise UserError(
            f"{label_file} has not one label below {len(class_names)} for each image of "
            f"{image_file.name}; remove both and download them again"
        )
    preparation = "size=28 resize=none codec=raw quality=lossless"
    return Split.from_arrays(images, labels, class_names=class_names, preparation=preparation)


def _read_idx(file: Path, axes: int) -> Any:
    """Read the array of an IDX file of unsigned bytes with so many axes.

    The format: two zeros, 8 for uint8, the number of axes, the length of each axis as a big-endian
    32-bit number, the values.
    """
    import gzip
    import math
    import zlib

    import numpy as np

    try:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        shape = np.frombuffer(data, ">u4", count=data[3], offset=4).tolist()
        header_bytes = 4 + 4 * len(shape)
        is_complete = len(data) == header_bytes + math.prod(shape)
        if data[:3] != IDX_UINT8 or data[3] != axes or not is_complete:
            raise ValueError(f"not a complete IDX file of unsigned bytes with {axes} axes")
    except (OSError, EOFError, zlib.error, ValueError, IndexError) as error:
        raise UserError(f"{file} is damaged ({error}); remove it and download it again") from error
    return np.frombuffer(data, np.uint8, offset=header_bytes).reshape(shape).copy()
