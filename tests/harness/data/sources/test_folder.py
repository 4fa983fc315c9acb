"""Folders: links, and files that are no plain files or cannot be read."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.data.decode import Undecodable
from harness.data.sources import Source, open_source
from harness.data.sources._folder import read_file
from harness.errors import UserError

Pictures = Callable[..., Path]
PETS = {"cat": 3, "dog": 3}


def names(source: Source) -> list[str]:
    return [image.name for image in source]


@pytest.mark.parametrize(
    ("link", "target"), [("latest", "."), ("cat/up", ".."), ("dog/up", "../.."), ("felis", "cat")]
)
def test_a_link_to_a_listed_folder_or_around_itself_is_passed_over(
    workdir: Path, pictures: Pictures, link: str, target: str
) -> None:
    root = pictures(workdir / "photos", PETS)
    before = names(open_source(root))
    (root / link).symlink_to(target)
    source = open_source(root)
    assert names(source) == before
    (note,) = source.dataset_notes
    assert note.endswith(f"are passed over: {link} -> {target}")


def test_a_link_to_a_folder_outside_is_followed_once(workdir: Path, pictures: Pictures) -> None:
    pictures(workdir / "elsewhere", {"emu": 3, "emu/chicks": 2})
    root = pictures(workdir / "photos", PETS)
    (root / "emu").symlink_to(workdir / "elsewhere/emu")
    (root / "nandu").symlink_to(workdir / "elsewhere/emu")
    (root / "young").symlink_to(workdir / "elsewhere/emu/chicks")
    source = open_source(root)
    assert source.class_names == ("cat", "dog", "emu")
    assert len(source) == 11
    assert source.dataset_notes[1].startswith("2 links to folders that are listed already")


def test_links_to_files_are_images(workdir: Path, pictures: Pictures) -> None:
    root = pictures(workdir / "photos", PETS)
    (root / "dog/3.png").symlink_to("../cat/0.png")
    contents = {image.name: image.read() for image in open_source(root)}
    assert contents["dog/3.png"] == contents["cat/0.png"]


def test_what_is_no_plain_file_is_listed_and_never_opened(
    workdir: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = pictures(workdir / "photos", PETS)
    os.mkfifo(root / "cat/pipe.jpg")
    (root / "cat/endless.jpg").symlink_to("/dev/zero")
    (root / "cat/pipe-link.jpg").symlink_to("pipe.jpg")
    (root / "dog/self.jpg").symlink_to("self.jpg")
    (root / "dog/gone.jpg").symlink_to("nowhere")
    with (root / "dog/huge.jpg").open("wb") as file:
        file.truncate(2**40)
    monkeypatch.chdir(root / "dog")  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
        reasons = {}
        for image in open_source(root):
            try:
                image.read()
            except Undecodable as error:
                reasons[image.name] = str(error)
    assert reasons == {
        "cat/endless.jpg": "it is a device, not a file",
        "cat/pipe-link.jpg": "it is a named pipe, not a file",
        "cat/pipe.jpg": "it is a named pipe, not a file",
        "dog/gone.jpg": "it is a broken link",
        "dog/huge.jpg": "it has 1099.5 GB, more than 1.0 GB",
        "dog/self.jpg": "it cannot be read: Too many levels of symbolic links",
        "dog/socket.jpg": "it is a socket, not a file",
    }


def test_a_file_that_cannot_be_read_is_one_undecodable_item(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read any file, so the refusal is patched in."""

    def refuse(number: int) -> Callable[..., Any]:
        def open_file(path: str, *_: Any) -> int:
            raise OSError(number, os.strerror(number), path)

        return open_file

    file = workdir / "1.jpg"
    file.write_bytes(b"x")
    for number, reason in ((errno.EACCES, "Permission denied"), (errno.EIO, "Input/output error")):
        monkeypatch.setattr(os, "open", refuse(number))
        with pytest.raises(Undecodable, match=f"it cannot be read: {reason}"):
            read_file(str(file))
    monkeypatch.setattr(os, "open", refuse(errno.EMFILE))
    with pytest.raises(OSError, match="Too many open files"):
        read_file(str(file))


def test_a_source_that_is_no_file_is_refused(workdir: Path) -> None:
    os.mkfifo(workdir / "photos.zip")
    with pytest.raises(UserError, match=r"photos\.zip is neither a folder nor an archive"):
        open_source(workdir / "photos.zip")
