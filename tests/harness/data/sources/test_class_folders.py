"""Class folders: which folder is a part, which a class, and which files are ignored."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import UserError
from harness.data.sources import open_source
from harness.data.sources._layout import lay_out

Pictures = Callable[..., Path]
PETS = {"train/cat": 2, "train/dog": 2, "test/cat": 1, "test/dog": 1}


@pytest.mark.parametrize("layout", ["train/{}", "photos/train/{}", "a/b/train/{}/deep"])
def test_parts_are_found_inside_other_folders(layout: str) -> None:
    names = [f"{layout.format('cat')}/1.jpg", f"{layout.format('dog')}/2.jpg"]
    names.append(f"{layout.replace('train', 'val').format('cat')}/3.jpg")
    assert list(lay_out(names, "photos").images.values()) == [
        ("train", "cat"),
        ("train", "dog"),
        ("val", "cat"),
    ]


@pytest.mark.parametrize(
    "layouts",
    [
        ["mnist_png/training/{}/1.png", "mnist_png/testing/{}/2.png"],
        ["Training/{}/1.jpg", "Testing/{}/2.jpg"],
        [
            "seg_train/seg_train/{}/1.jpg",
            "seg_train/seg_train/{}/3.jpg",
            "seg_test/seg_test/{}/2.jpg",
            "seg_pred/seg_pred/4.jpg",
        ],
        ["train/train/{}/1.jpg", "test/test/{}/2.jpg"],
    ],
)
def test_parts_may_have_other_names(layouts: list[str]) -> None:
    names = [layout.format(name) for layout in layouts for name in ("cat", "dog")]
    images = lay_out(names, "photos").images
    expected = {(part, name) for part in ("train", "test") for name in ("cat", "dog")}
    assert set(images.values()) == expected


def test_a_class_may_have_the_word_of_a_part_in_its_name() -> None:
    classes = {"bullet-train", "test-tube", "cat", "dog", "emu"}
    names = [f"{name}/images/{i}.jpg" for name in classes for i in range(3)]
    assert {class_name for _, class_name in lay_out(names, "photos").images.values()} == classes


def test_class_folders_without_parts() -> None:
    expected = [("all", "cat"), ("all", "dog")]
    assert (
        list(lay_out(["photos/cat/1.jpg", "photos/dog/x/2.jpg"], "photos").images.values())
        == expected
    )
    assert list(lay_out(["cat/1.jpg", "dog/2.jpg"], "photos").images.values()) == expected


def test_parts_without_class_folders_are_not_taken_for_classes(
    workdir: Path, pictures: Pictures
) -> None:
    root = pictures(workdir / "photos", {"train": 3, "test": 3})
    with pytest.raises(UserError, match="holds test and train, but no class folders in them"):
        open_source(root)


def test_a_folder_without_images_says_what_is_expected(workdir: Path) -> None:
    (workdir / "photos/cat").mkdir(parents=True)
    message = r"no images in class folders; expected train/CLASS/IMAGE.*image files found: 0"
    with pytest.raises(UserError, match=message):
        open_source(workdir / "photos")


def test_a_source_of_other_files_says_what_it_holds(workdir: Path) -> None:
    (workdir / "photos").mkdir()
    for name in ("train.zip", "test.zip", "1.heic", "noname"):
        (workdir / "photos" / name).write_bytes(b"x")
    message = r"in all: 2 \.zip, 1 \.heic, 1 without suffix\); unpack the archives inside it first"
    with pytest.raises(UserError, match=message):
        open_source(workdir / "photos")


def test_hidden_files_are_ignored_with_a_note(workdir: Path, pictures: Pictures) -> None:
    root = pictures(workdir / "photos", PETS)
    hidden = "__MACOSX/photos/train/cat/._1.png"
    for name in (hidden, "train/cat/._1.png", "train/.ipynb_checkpoints/1.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"no picture")
    source = open_source(root)
    assert (source.class_names, len(source)) == (("cat", "dog"), 6)
    assert source.dataset_notes == (f"3 hidden files are ignored, such as {hidden}",)


def test_files_without_an_image_suffix_are_ignored_with_a_note(
    workdir: Path, pictures: Pictures
) -> None:
    root = pictures(workdir / "photos", PETS)
    (root / "train/cat/0.png").rename(root / "train/cat/0.jfif")
    (root / "train/emu").mkdir()
    (root / "train/emu/1.heic").write_bytes(b"ftypheic")
    (root / "README.txt").write_text("mine")
    source = open_source(root)
    assert (source.class_names, len(source)) == (("cat", "dog"), 6)
    note = "1 files without an image suffix are ignored (1 .heic), such as train/emu/1.heic"
    assert source.dataset_notes == (note,)


def test_imagenette_in_its_tar_equals_the_folder(
    photos: object,
    layouts: dict[str, Callable[..., Path]],
    prepare_source: Callable[..., object],
    workdir: Path,
) -> None:
    folder = layouts["class folders"](photos, workdir / "imagenette2-320")
    with tarfile.open(workdir / "imagenette2-320.tgz", "w:gz") as archive:
        archive.add(folder, arcname="imagenette2-320")
    digests = [
        {part: content["digest"] for part, content in prepared.manifest["parts"].items()}
        for prepared in (
            prepare_source(workdir / "imagenette2-320.tgz", size=64),
            prepare_source(folder, size=64),
        )
    ]
    assert digests[0] == digests[1]


def test_a_json_file_among_class_folders_in_a_tar_makes_no_shard(
    workdir: Path, pictures: Pictures
) -> None:
    root = pictures(workdir / "photos", PETS)
    (root / "classes.json").write_text("{}")
    with tarfile.open(workdir / "photos.tar", "w") as archive:
        archive.add(root, arcname="photos")
    assert open_source(workdir / "photos.tar").layout == "class folders"
