"""Repeated photographs have the same pixels and different bytes."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.repeated_tar import prepare_command, write_repeated_tar
from tests.benchmarks.photographs import write_photographs


def read_files(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        members = [member for member in archive if member.isfile()]
        return {member.name: archive.extractfile(member).read() for member in members}


def test_copies_differ_in_bytes_only(workdir: Path) -> None:
    photographs = write_photographs(workdir / "photographs.tar")
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
