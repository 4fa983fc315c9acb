"""Folders and archives: damaged, locked, encrypted, with odd names or files left by a system."""

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
from harness.data.sources._file_tree import FileTree
from harness.errors import UserError

Pictures = Callable[..., Path]


@pytest.mark.parametrize("compression", ["gz", "xz", "bz2"])
def test_a_flipped_bit_in_a_compressed_archive_is_noticed(workdir: Path, compression: str) -> None:
    """Wherever it is, since the checksum at the end covers the complete stream."""
    rng = np.random.default_rng(0)
    path = workdir / f"photos.tar.{compression}"
    with tarfile.open(path, f"w:{compression}") as archive:
        for i in range(40):
            buffer = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(buffer, "BMP")
            member = tarfile.TarInfo(f"{'cat' if i % 2 else 'dog'}/{i}.bmp")
            member.size = buffer.tell()
            archive.addfile(member, io.BytesIO(buffer.getvalue()))
    assert len(open_source(path)) == 40
    data = path.read_bytes()
    for position in np.linspace(len(data) * 0.2, len(data) * 0.8, 8, dtype=int):
        flipped = bytes([data[position] ^ 16])
        path.write_bytes(data[:position] + flipped + data[position + 1 :])
        with pytest.raises(UserError, match=r"is damaged.*copy or download it again"):
            open_source(path)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_compressed_tar_is_damaged(
    workdir: Path, pictures: Pictures, share: float
) -> None:
    pictures(workdir / "photos", {"train/cat": 9, "test/cat": 9})
    with tarfile.open(workdir / "photos.tar.gz", "w:gz") as archive:
        archive.add(workdir / "photos", arcname="photos")
    data = (workdir / "photos.tar.gz").read_bytes()
    (workdir / "cut.tar.gz").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError, match=r"cut\.tar\.gz is damaged after"):
        open_source(workdir / "cut.tar.gz")


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_plain_tar_names_the_last_file(
    workdir: Path, pictures: Pictures, share: float
) -> None:
    pictures(workdir / "photos", {"train/cat": 9, "test/cat": 9})
    with tarfile.open(workdir / "photos.tar", "w") as archive:
        archive.add(workdir / "photos", arcname="photos")
        end = archive.offset
    (workdir / "cut.tar").write_bytes((workdir / "photos.tar").read_bytes()[: int(end * share)])
    message = (
        r"cut\.tar is damaged after photos/t\w+/cat/\d\.png: unexpected end of data; "
        r"copy or download"
    )
    with pytest.raises(UserError, match=message):
        open_source(workdir / "cut.tar")


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.zip"])
def test_a_file_that_is_no_archive_is_reported_in_one_line(workdir: Path, name: str) -> None:
    (workdir / name).write_bytes(b"x" * 5000)
    message = rf"{name} is damaged after its start: [^\n]+; copy or download it again$"
    with pytest.raises(UserError, match=message):
        open_source(workdir / name)


def test_a_folder_that_cannot_be_listed_is_named(
    workdir: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may list any folder, so the refusal is patched in."""
    root = pictures(workdir / "photos", {"cat": 3, "dog": 3, "emu": 3})
    scandir = os.scandir

    def refuse_emu(path: Any) -> Any:
        if Path(path).name == "emu":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse_emu)
    source = open_source(root)
    assert (source.class_names, len(source)) == (("cat", "dog"), 6)
    expected = "1 folders cannot be listed, and what they hold is missing: emu/ (Permission denied)"
    assert source.dataset_notes == (expected,)


def test_system_files_do_not_change_the_fingerprint(workdir: Path, pictures: Pictures) -> None:
    root = pictures(workdir / "photos", {"cat": 3, "dog": 3})
    before = open_source(root).fingerprint
    for name in (".DS_Store", "cat/Thumbs.db", "dog/._1.png"):
        (root / name).write_bytes(b"left")
    assert open_source(root).fingerprint == before
    (root / "cat" / "labels.txt").touch()
    assert open_source(root).fingerprint != before


def test_the_fingerprint_does_not_depend_on_how_the_path_is_written(
    workdir: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = pictures(workdir / "photos", {"train/cat": 2, "train/dog": 2})
    monkeypatch.chdir(root / "train")
    paths = (root, "..", "../../photos", root / "train" / "..")
    assert len({open_source(Path(path)).fingerprint for path in paths}) == 1


def test_names_in_another_encoding_are_escaped(workdir: Path, pictures: Pictures) -> None:
    root = pictures(workdir / "photos", {"cat": 2, "dog": 2})
    latin1 = os.fsdecode(b"caf\xe9.png")
    (root / "dog" / latin1).write_bytes(next((root / "dog").iterdir()).read_bytes())
    packed = workdir / "photos.tar"
    with tarfile.open(packed, "w") as archive:
        archive.add(root, arcname="photos")
    names = [image.name for image in open_source(root) if "caf" in image.name]
    assert names == [r"dog/caf\xe9.png"]
    contents = {image.name: image.read() for image in open_source(packed)}
    assert contents[r"photos/dog/caf\xe9.png"] == (root / "dog" / latin1).read_bytes()


def read_all(path: Path) -> None:
    for _, read in FileTree(path):
        read()


def test_a_zip_that_cannot_be_unpacked_says_why(workdir: Path) -> None:
    path = workdir / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("cat/1.png", "dog/1.png"):
            archive.writestr(name, b"pixels of " + name.encode())
    data = path.read_bytes()

    path.write_bytes(data.replace(b"pixels of cat", b"pixels of bat"))
    with pytest.raises(UserError, match=r"is damaged after cat/1\.png: Bad CRC-32"):
        read_all(path)
    encrypted, deflate64 = bytearray(data), bytearray(data)
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.index(signature)
        encrypted[start + flags] |= 1
        deflate64[start + flags + 2] = 9
    path.write_bytes(encrypted)
    with pytest.raises(UserError, match=r"photos\.zip: cat/1\.png is encrypted"):
        read_all(path)
    path.write_bytes(deflate64)
    with pytest.raises(UserError, match="cannot be unpacked"):
        read_all(path)


def test_a_zip_may_have_backslashes_in_its_names(workdir: Path) -> None:
    with zipfile.ZipFile(workdir / "windows.zip", "w") as archive:
        for part in ("train", "test"):
            for class_name in ("cat", "dog"):
                member = zipfile.ZipInfo("x")
                member.filename = f"photos\\{part}\\{class_name}\\1.png"
                archive.writestr(member, b"no picture")
    source = open_source(workdir / "windows.zip")
    assert next((image.part, image.name) for image in source) == ("train", "photos/train/cat/1.png")
    assert source.class_names == ("cat", "dog")


def test_a_tar_whose_last_member_is_a_zip_is_read_as_a_tar(
    workdir: Path, pictures: Pictures
) -> None:
    root = pictures(workdir / "photos", {"cat": 2, "dog": 2})
    with zipfile.ZipFile(root / "masks.zip", "w") as archive:
        archive.writestr("mask", b"0" * 100)
    with tarfile.open(workdir / "photos.tar", "w") as archive:
        for name in ("cat", "dog", "masks.zip"):
            archive.add(root / name, arcname=f"photos/{name}")
    assert zipfile.is_zipfile(workdir / "photos.tar")
    assert len(open_source(workdir / "photos.tar")) == 4
