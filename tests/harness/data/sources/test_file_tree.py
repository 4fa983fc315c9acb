"""Folders and archives as they come: damaged, locked, oddly named, with what a system left in them."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data.sources import open_source
from harness.data.sources._tree import Tree
from harness.errors import UserError

Pictures = Callable[..., Path]


@pytest.mark.parametrize("packing", ["gz", "xz", "bz2"])
def test_a_flipped_bit_in_a_packed_archive_is_noticed(workdir: Path, packing: str) -> None:
    """Whatever it hits: the checksum at the end of what is packed is of all of it."""
    rng = np.random.default_rng(0)
    path = workdir / f"photos.tar.{packing}"
    with tarfile.open(path, f"w:{packing}") as archive:  # type: ignore[call-overload]
        for i in range(40):
            buffer = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(buffer, "BMP")
            member = tarfile.TarInfo(f"{'cat' if i % 2 else 'dog'}/{i}.bmp")
            member.size = buffer.tell()
            archive.addfile(member, io.BytesIO(buffer.getvalue()))
    assert len(open_source(path)) == 40
    whole = path.read_bytes()
    for place in np.linspace(len(whole) * 0.2, len(whole) * 0.8, 8, dtype=int):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        with pytest.raises(UserError, match=r"is damaged.*copy or download it again"):
            open_source(path)


def test_a_folder_that_cannot_be_listed_is_told(
    workdir: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not passed over: its class would be gone. To the super-user every folder is open, so this one is refused by hand."""
    root = pictures(workdir / "photos", {"cat": 3, "dog": 3, "emu": 3})
    scandir = os.scandir

    def locked(path: Any) -> Any:
        if Path(path).name == "emu":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(PermissionError, match="emu"):
        open_source(root)


def test_what_a_system_leaves_there_makes_no_other_data_set(
    workdir: Path, pictures: Pictures
) -> None:
    root = pictures(workdir / "photos", {"cat": 3, "dog": 3})
    before = open_source(root).fingerprint
    for name in (".DS_Store", "cat/Thumbs.db", "dog/._1.png"):
        (root / name).write_bytes(b"left")
    assert open_source(root).fingerprint == before
    (root / "cat" / "labels.txt").touch()
    assert open_source(root).fingerprint != before


def test_a_name_in_another_encoding_is_written_out(workdir: Path, pictures: Pictures) -> None:
    root = pictures(workdir / "photos", {"cat": 2, "dog": 2})
    odd = os.fsdecode(b"caf\xe9.png")
    (root / "dog" / odd).write_bytes(next((root / "dog").iterdir()).read_bytes())
    packed = workdir / "photos.tar"
    with tarfile.open(packed, "w") as archive:
        archive.add(root, arcname="photos")
    assert [image.name for image in open_source(root) if "caf" in image.name] == [
        r"dog/caf\xe9.png"
    ]
    found = {image.name: image.read() for image in open_source(packed)}
    assert found[r"photos/dog/caf\xe9.png"] == (root / "dog" / odd).read_bytes()


def test_a_zip_that_cannot_be_unpacked_says_why(workdir: Path) -> None:
    path = workdir / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("cat/1.png", "dog/1.png"):
            archive.writestr(name, b"pixels of " + name.encode())
    whole = path.read_bytes()

    def said() -> str:
        with pytest.raises(UserError) as error:
            [read() for _, read in Tree(path)]
        return str(error.value)

    path.write_bytes(whole.replace(b"pixels of cat", b"pixels of bat"))
    assert "is damaged after cat/1.png: Bad CRC-32" in said()
    encrypted, deflate64 = bytearray(whole), bytearray(whole)
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = whole.index(signature)
        encrypted[at + flags] |= 1
        deflate64[at + flags + 2] = 9
    path.write_bytes(encrypted)
    assert "photos.zip: cat/1.png is encrypted" in said()
    path.write_bytes(deflate64)
    assert "cannot be unpacked here" in said()


def test_a_zip_made_with_backslashes(workdir: Path) -> None:
    with zipfile.ZipFile(workdir / "windows.zip", "w") as archive:
        for part, kind in (("train", "cat"), ("train", "dog"), ("test", "cat"), ("test", "dog")):
            member = zipfile.ZipInfo("x")
            member.filename = f"photos\\{part}\\{kind}\\1.png"
            archive.writestr(member, b"no picture")
    source = open_source(workdir / "windows.zip")
    assert next((image.part, image.name) for image in source) == ("train", "photos/train/cat/1.png")
    assert source.class_names == ("cat", "dog")


def test_a_tar_whose_last_member_is_a_zip_is_a_tar(workdir: Path, pictures: Pictures) -> None:
    root = pictures(workdir / "photos", {"cat": 2, "dog": 2})
    with zipfile.ZipFile(root / "masks.zip", "w") as archive:
        archive.writestr("mask", b"0" * 100)
    with tarfile.open(workdir / "photos.tar", "w") as archive:
        for name in ("cat", "dog", "masks.zip"):
            archive.add(root / name, arcname=f"photos/{name}")
    assert zipfile.is_zipfile(workdir / "photos.tar")
    assert len(open_source(workdir / "photos.tar")) == 4
