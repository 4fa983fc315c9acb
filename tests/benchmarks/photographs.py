"""Tars of small photographs for the benchmarks of preparing and loading."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image


def write_photographs(path: Path, *, height: int = 30, width: int = 40) -> Path:
    """Write a tar of two JPEGs of random pixels, of two classes."""
    with tarfile.open(path, "w") as archive:
        for number, name in enumerate(("n01440764_1.jpg", "n01443537_2.jpg")):
            rng = np.random.default_rng(number)
            file = io.BytesIO()
            pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(file, "JPEG")
            member = tarfile.TarInfo(f"some/folder/{name}")
            member.size = file.tell()
            file.seek(0)
            archive.addfile(member, file)
    return path
