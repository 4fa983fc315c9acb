"""The official splits of CUB-200-2011 and Food-101."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.data.sources import Source, open_source
from harness.errors import UserError

Pictures = Callable[..., Path]
CLASSES = {"images/pizza": 4, "images/sushi": 4}


def parts(source: Source) -> dict[str, int]:
    names = [image.part for image in source]
    return {part: names.count(part) for part in names}


def write_lists(folder: Path, suffix: str = "", train: int = 3) -> None:
    folder.mkdir(exist_ok=True)
    for part, numbers in (("train", range(train)), ("test", range(3, 4))):
        lines = [f"{name}/{i}{suffix}" for name in ("pizza", "sushi") for i in numbers]
        (folder / f"{part}.txt").write_text("\n".join(lines))


@pytest.mark.parametrize("suffix", ["", ".png"])
@pytest.mark.parametrize("folder", ["meta", "images", "."])
def test_lists_of_paths_are_the_split(
    workdir: Path, pictures: Pictures, folder: str, suffix: str
) -> None:
    root = pictures(workdir / "food", CLASSES)
    before = open_source(root).fingerprint
    write_lists(root / folder, suffix)
    source = open_source(root)
    assert parts(source) == {"train": 6, "test": 2}
    assert source.class_names == ("pizza", "sushi")
    assert "the split is that of" in source.dataset_notes[0]
    assert "6 train, 2 test images" in source.dataset_notes[0]
    assert source.fingerprint.endswith("-official")
    assert before != source.fingerprint


def test_images_in_no_list_and_lines_without_image_are_counted(
    workdir: Path, pictures: Pictures
) -> None:
    root = pictures(workdir / "food", CLASSES)
    write_lists(root / "meta", train=2)
    with (root / "meta/test.txt").open("a") as file:
        file.write("\nsushi/99\n")
    notes = "\n".join(open_source(root).dataset_notes)
    assert "1 images of these lists are not there, such as sushi/99" in notes
    assert "2 images are in none of these lists and are passed over" in notes


def test_an_image_in_two_parts_is_refused(workdir: Path, pictures: Pictures) -> None:
    root = pictures(workdir / "food", CLASSES)
    write_lists(root / "meta", train=4)
    with pytest.raises(UserError, match=r"put images/pizza/3\.png into train and into test"):
        open_source(root)


def test_lists_of_something_else_are_not_used(workdir: Path, pictures: Pictures) -> None:
    root = pictures(workdir / "food", CLASSES)
    for part in ("train", "test"):
        (root / f"{part}.txt").write_text("other/1\nother/2\n")
    source = open_source(root)
    assert parts(source) == {"all": 8}
    assert "test.txt, train.txt are there and not read" in source.dataset_notes[0]


def test_cub_has_numbers_of_images(workdir: Path, pictures: Pictures) -> None:
    root = pictures(workdir / "CUB", {"images/001.Albatross": 4, "images/002.Auklet": 4})
    paths = [f"{name}/{i}.png" for name in ("001.Albatross", "002.Auklet") for i in range(4)]
    numbered = list(enumerate(paths, 1))
    (root / "images.txt").write_text("".join(f"{k} {path}\n" for k, path in numbered))
    split = "".join(f"{k} {int(path.endswith(('0.png', '1.png')))}\n" for k, path in numbered)
    (root / "train_test_split.txt").write_text(split)
    source = open_source(root)
    assert parts(source) == {"train": 4, "test": 4}
    assert source.class_names == ("001.Albatross", "002.Auklet")


def test_a_list_that_is_not_utf8_is_named(workdir: Path, pictures: Pictures) -> None:
    root = pictures(workdir / "food", CLASSES)
    write_lists(root / "meta")
    (root / "meta/test.txt").write_bytes(b"pizza/caf\xe9\n")
    with pytest.raises(UserError, match=r"meta/test\.txt in .* is not UTF-8 text"):
        open_source(root)
