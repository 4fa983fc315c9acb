"""Tars and zips: damage is never taken for the end, sizes are bounded, names are readable."""

from __future__ import annotations

import io
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.data.decode import Undecodable
from harness.data.sources import open_source
from harness.data.sources._file_tree import FileTree
from harness.errors import UserError

Pictures = Callable[..., Path]
NAMES = [f"{name}/{i}.jpg" for name in ("cat", "dog") for i in range(3)]


def write_tar(path: Path, names: list[str] = NAMES, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for position, name in enumerate(names):
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(f"{position:04}".encode()))
    return path


def test_a_damaged_header_in_a_tar_is_not_its_end(workdir: Path) -> None:
    path = write_tar(workdir / "photos.tar")
    data = bytearray(path.read_bytes())
    data[3 * 1024 + 10] ^= 1  # the name of the fourth member, whose header has a checksum
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"is damaged after cat/2\.jpg: bad checksum"):
        open_source(path)


def test_a_tar_that_ends_after_a_member_is_noticed(workdir: Path) -> None:
    path = write_tar(workdir / "photos.tar")
    path.write_bytes(path.read_bytes()[: 5 * 1024])
    source = open_source(path)
    assert len(source) == 5
    assert source.dataset_notes[0].startswith("photos.tar has no end mark, so that files may be")


def test_tars_joined_by_cat_are_noticed(workdir: Path) -> None:
    first, second = write_tar(workdir / "1.tar"), write_tar(workdir / "2.tar", ["emu/1.jpg"])
    (workdir / "both.tar").write_bytes(first.read_bytes() + second.read_bytes())
    (note,) = open_source(workdir / "both.tar").dataset_notes
    assert note.startswith("both.tar continues after its end mark")


@pytest.mark.parametrize("suffix", ["tar", "zip"])
def test_the_last_of_equal_names_is_read(workdir: Path, suffix: str) -> None:
    path = workdir / f"photos.{suffix}"
    names = [*NAMES, NAMES[0]]
    if suffix == "tar":
        write_tar(path, names)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for position, name in enumerate(names[:-1]):
                archive.writestr(name, f"{position:04}")
            with pytest.warns(UserWarning, match="Duplicate"):
                archive.writestr(names[-1], "0006")
    source = open_source(path)
    contents = {image.name: image.read() for image in source}
    assert len(source) == len([*source]) == 6
    assert contents[NAMES[0]] == b"0006"
    assert source.dataset_notes[0].startswith("1 files are in the archive under a name that comes")


def test_a_member_of_absurd_size_is_undecodable(workdir: Path) -> None:
    """A sparse file: its header states a terabyte, the tar holds nothing of it."""
    path = workdir / "photos.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("cat/1.jpg")
        member.pax_headers = {
            "GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": str(2**40),
            "GNU.sparse.map": f"{2**40},0",
        }  # fmt: skip
        archive.addfile(member)
        archive.addfile(tarfile.TarInfo("dog/1.jpg"))
    read = dict(FileTree(path))
    with pytest.raises(Undecodable, match=r"it has 1099\.5 GB, more than 1\.0 GB"):
        read["cat/1.jpg"]()


def test_a_zip_bomb_is_undecodable(workdir: Path) -> None:
    path = workdir / "photos.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/1.jpg", bytes(70_000_000))
        archive.writestr("dog/1.jpg", b"small")
    reasons = []
    for _, read in FileTree(path):
        try:
            read()
        except Undecodable as error:
            reasons.append(str(error))
    assert reasons == ["decompression bomb: 68.0 kB in the zip would become 70.0 MB"]


def test_links_in_a_zip_lead_to_its_files_alone(workdir: Path) -> None:
    with zipfile.ZipFile(workdir / "photos.zip", "w") as archive:
        archive.writestr("cat/1.jpg", b"pixels")
        for name, target in (("dog/1.jpg", "../cat/1.jpg"), ("dog/2.jpg", "../../etc/passwd")):
            link = zipfile.ZipInfo(name)
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(link, target)
    contents, reasons = {}, {}
    for name, read in FileTree(workdir / "photos.zip"):
        try:
            contents[name] = read()
        except Undecodable as error:
            reasons[name] = str(error)
    assert contents == {"cat/1.jpg": b"pixels", "dog/1.jpg": b"pixels"}
    reason = "it is a link to ../../etc/passwd, which is not in the archive"
    assert reasons == {"dog/2.jpg": reason}


def test_a_pipe_in_a_tar_is_undecodable(workdir: Path) -> None:
    with tarfile.open(workdir / "photos.tar", "w") as archive:
        pipe = tarfile.TarInfo("cat/1.jpg")
        pipe.type = tarfile.FIFOTYPE
        archive.addfile(pipe)
    ((_, read),) = FileTree(workdir / "photos.tar")
    with pytest.raises(Undecodable, match="it is a device or a named pipe, not a file"):
        read()


class UnstatedName(zipfile.ZipInfo):
    """A member whose name is stored as bytes without saying in which encoding."""

    __slots__ = ()

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802
        return self.filename.encode("latin-1"), 0


@pytest.mark.parametrize(
    ("encoding", "classes", "is_noted"),
    [
        ("utf-8", ("cães", "gatos"), False),
        ("utf-8", ("狗", "猫"), False),
        ("cp932", ("いぬ", "ねこ"), True),
        ("cp932", ("ソファ", "表"), True),  # whose second byte is a backslash
    ],
)
def test_names_in_the_encoding_of_their_system_are_readable(
    workdir: Path, encoding: str, classes: tuple[str, ...], is_noted: bool
) -> None:
    with zipfile.ZipFile(workdir / "photos.zip", "w") as archive:
        for name in classes:
            stored = f"{name}/1.jpg".encode(encoding).decode("latin-1")
            archive.writestr(UnstatedName(stored), b"x")
    source = open_source(workdir / "photos.zip")
    assert source.class_names == tuple(sorted(classes))
    assert [f"are read as {encoding}" in note for note in source.dataset_notes] == [True] * is_noted


def test_a_name_in_utf8_beside_one_in_another_encoding_is_read(workdir: Path) -> None:
    with zipfile.ZipFile(workdir / "photos.zip", "w") as archive:
        for name in ("кот", "пёс"):
            member = UnstatedName(f"{name}/1.jpg".encode("cp1251").decode("latin-1"))
            path = f"{name}/1.jpg".encode()
            member.extra = struct.pack("<HHBI", 0x7075, 5 + len(path), 1, 0) + path
            archive.writestr(member, b"x")
    source = open_source(workdir / "photos.zip")
    assert (source.class_names, source.dataset_notes) == (("кот", "пёс"), ())


def test_names_in_an_unknown_encoding_stay_different(workdir: Path) -> None:
    with zipfile.ZipFile(workdir / "photos.zip", "w") as archive:
        for name in ("кот", "пёс"):
            stored = f"{name}/1.jpg".encode("cp1251").decode("latin-1")
            archive.writestr(UnstatedName(stored), b"x")
    source = open_source(workdir / "photos.zip")
    assert len(source.class_names) == 2
    assert "2 names in the zip are in an encoding that it does not state" in source.dataset_notes[0]
