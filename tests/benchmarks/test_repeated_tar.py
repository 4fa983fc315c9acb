"""Repeated photographs have the same pixels and different bytes."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.repeated_tar import prepare_command, write_repeated_tar


@pytest.fixture
def photographs(workdir: Path) -> Path:
    """A tar of two JPEGs of random pixels."""
    path = workdir / "photographs.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("n01440764_1.jpg", "n01443537_2.jpg"):
            pixels = np.random.default_rng(len(name)).integers(0, 256, (30, 40, 3), dtype=np.uint8)
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "JPEG")
            member = tarfile.TarInfo(f"some/folder/{name}")
            member.size = file.tell()
            file.seek(0)
            archive.addfile(member, file)
    return path


def read_files(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        members = [member for member in archive if member.isfile()]
        return {member.name: archive.extractfile(member).read() for member in members}  # type: ignore[union-attr]


def test_copies_differ_in_bytes_only(photographs: Path, workdir: Path) -> None:
    originals = list(read_files(photographs).values())
    copies = read_files(write_repeated_tar(photographs, workdir / "repeated.tar", 22))
    assert len(set(copies.values())) == 22
    assert [name for name in copies if name.startswith("val/")] == [
        "val/n01440764/0.jpg", "val/n01440764/20.jpg",
    ]  # fmt: skip
    for i, data in enumerate(copies.values()):
        copy, original = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(originals[i % 2]))
        assert np.array_equal(np.asarray(copy), np.asarray(original))


def test_the_command_names_source_and_data_root() -> None:
    words = prepare_command(Path("repeated.tar"), Path("root"))
    assert words[1:] == [
        "-m", "harness", "prepare", "repeated.tar", "--name", "repeated", "--data-root", "root",
    ]  # fmt: skip
