"""Images by path are read as those of a dataset, and each problem is said once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from harness import UserError
from harness.data.decode import decode
from harness.data.own_images import OwnImages

Pictures = Callable[..., Path]


def test_files_and_folders_give_the_pixels_of_their_images(
    workdir: Path, pictures: Pictures
) -> None:
    folder = pictures(workdir / "mine", {"": 1, "deeper": 1})
    (folder / "notes.txt").write_text("not searched")
    nameless = folder / "deeper/0.png"
    nameless = nameless.rename(folder / "deeper/without suffix")
    read = dict(OwnImages([folder, nameless]))
    assert list(read) == [folder / "0.png", nameless]
    for path, image in read.items():
        assert torch.equal(image, decode(path.read_bytes()))


def test_a_path_without_images_is_an_error_at_once_if_there_is_no_other(workdir: Path) -> None:
    (workdir / "empty").mkdir()
    with pytest.raises(UserError, match=r"^empty holds no images; there is no file .* x\.png$"):
        OwnImages([Path("empty"), Path("x.png")])


def test_what_is_neither_file_nor_folder_is_refused() -> None:
    with pytest.raises(UserError, match="/dev/null is neither a file nor a folder"):
        OwnImages([Path("/dev/null")])


def test_each_file_is_an_image_or_a_problem(workdir: Path, pictures: Pictures) -> None:
    folder = pictures(workdir / "mine", {"": 2})
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:200])
    (folder / "link.png").symlink_to("nowhere.png")
    Image.new("CMYK", (5, 5)).save(folder / "cmyk.jpg")
    images = OwnImages([folder])
    assert [path.name for path, _ in images] == ["0.png", "1.png", "cmyk.jpg"]
    assert images.notes == ["CMYK was converted to RGB without a color profile: 1 image"]
    with pytest.raises(UserError) as caught:
        images.raise_problems()
    assert "cut.png cannot be decoded: the PNG file is damaged" in str(caught.value)
    assert "link.png cannot be decoded: it is a broken link" in str(caught.value)


def test_a_file_that_cannot_be_read_is_a_problem(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, pictures: Pictures
) -> None:
    file = pictures(workdir / "mine", {"": 1}) / "0.png"
    images = OwnImages([file])

    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.open", fail)
    assert list(images) == []
    with pytest.raises(UserError, match=r"0\.png cannot be decoded: it cannot be read: Input/out"):
        images.raise_problems()


def test_a_sparse_file_is_not_read(workdir: Path) -> None:
    with (workdir / "large.png").open("wb") as file:
        file.truncate(2**40)
    images = OwnImages([workdir / "large.png"])
    assert list(images) == []
    with pytest.raises(UserError, match=r"it has 1099\.5 GB, more than 1\.0 GB"):
        images.raise_problems()
