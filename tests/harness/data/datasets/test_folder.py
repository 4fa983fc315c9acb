from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import harness
from harness import UserError
from harness.data import prepare as prepare_module
from harness.data.sources import open_source
from harness.data.sources.class_folders import classify
from harness.data.split import Split
from harness.engine.request import resolve

Pictures = Callable[..., Path]


def tar_of(folder: Path, path: Path) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname="photos")
    return path


@pytest.mark.parametrize("layout", ["train/{}", "photos/train/{}", "a/b/train/{}/deep"])
def test_parts_are_found_below_other_folders(layout: str) -> None:
    images = classify(
        [
            layout.format("cat") + "/1.jpg",
            layout.format("dog") + "/2.jpg",
            layout.replace("train", "val").format("cat") + "/3.jpg",
        ]
    )
    assert list(images.values()) == [("train", "cat"), ("train", "dog"), ("val", "cat")]


@pytest.mark.parametrize(
    "names",
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
def test_parts_by_other_names(names: list[str]) -> None:
    images = classify([name.format(kind) for name in names for kind in ("cat", "dog")])
    assert set(images.values()) == {
        (part, kind) for part in ("train", "test") for kind in ("cat", "dog")
    }


def test_a_class_may_have_the_word_of_a_part_in_its_name() -> None:
    names = [
        f"{kind}/images/{i}.jpg"
        for kind in ("bullet-train", "test-tube", "cat", "dog", "emu")
        for i in range(3)
    ]
    assert {kind for _, kind in classify(names).values()} == {
        "bullet-train",
        "test-tube",
        "cat",
        "dog",
        "emu",
    }


def test_class_folders_alone() -> None:
    images = classify(["photos/cat/1.jpg", "photos/dog/x/2.jpg"])
    assert list(images.values()) == [("all", "cat"), ("all", "dog")]
    assert list(classify(["cat/1.jpg", "dog/2.jpg"]).values()) == [("all", "cat"), ("all", "dog")]


def test_parts_without_class_folders_are_no_classes(workdir: Path, pictures: Pictures) -> None:
    root = pictures(workdir / "photos", {"train": 3, "test": 3})
    with pytest.raises(UserError, match="holds test and train, but no class folders in them"):
        open_source(root)


def test_runs_are_not_kept_inside_the_data_set(
    workdir: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures(workdir, {"cat": 4, "dog": 4})
    monkeypatch.setenv("HARNESS_DATASET", str(workdir))
    for dataset in (".", None, "subset,of=.,percent=50"):
        with pytest.raises(
            UserError, match=r"would become part of the dataset.*work in another folder"
        ):
            resolve("hog-svm", dataset)


def test_what_a_system_left_there_shows_no_class(workdir: Path, pictures: Pictures) -> None:
    root = pictures(
        workdir / "photos", {"train/cat": 12, "train/dog": 12, "test/cat": 3, "test/dog": 3}
    )
    for name in (
        "__MACOSX/photos/train/cat/._1.png",
        "train/cat/._1.png",
        "train/.ipynb_checkpoints/1.png",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"no picture")
    source = open_source(root)
    assert (source.class_names, len(source)) == (("cat", "dog"), 30)
    assert source.dataset_notes == (
        "3 hidden files are passed over, such as __MACOSX/photos/train/cat/._1.png",
    )


def test_a_path_is_the_same_however_it_is_written(
    workdir: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = pictures(
        workdir / "photos", {"train/cat": 2, "train/dog": 2, "test/cat": 1, "test/dog": 1}
    )
    monkeypatch.chdir(root / "train")
    prints = {
        open_source(Path(path)).fingerprint
        for path in (root, "..", "../../photos", root / "train" / "..")
    }
    assert len(prints) == 1


def test_files_that_are_not_taken_for_images_are_said(workdir: Path, pictures: Pictures) -> None:
    root = pictures(
        workdir / "photos", {"train/cat": 2, "train/dog": 2, "test/cat": 1, "test/dog": 1}
    )
    (root / "train/cat/0.png").rename(root / "train/cat/0.jfif")
    (root / "train/emu").mkdir()
    (root / "train/emu/1.heic").write_bytes(b"ftypheic")
    (root / "README.txt").write_text("mine")
    source = open_source(root)
    assert (source.class_names, len(source)) == (("cat", "dog"), 6)
    assert source.dataset_notes == (
        "1 files whose names do not end as an image's are passed over, such as train/emu/1.heic",
    )


def test_test_images_of_classes_that_train_lacks_are_said(
    workdir: Path, pictures: Pictures
) -> None:
    root = pictures(
        workdir / "photos", {"train/cat": 12, "train/dog": 12, "test/cat": 2, "test/Dog": 3}
    )
    dataset_notes = harness.load_dataset(str(root), tune=0).dataset_notes
    assert (
        "3 of 5 test images are of classes without training images, such as 'Dog': every pipeline errs on them"
        in dataset_notes
    )
    root = pictures(
        workdir / "others", {"train/cat": 12, "train/dog": 12, "val/cat": 2, "test/unknown": 3}
    )
    with pytest.raises(
        UserError,
        match=r"all 3 test images are of classes without training images, such as 'unknown'",
    ):
        harness.load_dataset(str(root), tune=0)


def test_parts_of_different_classes_are_refused(workdir: Path) -> None:
    def split(*names: str) -> Split:
        return Split.from_arrays(
            np.zeros((20, 8, 8, 3), np.uint8), np.arange(20) % len(names), class_names=names
        )

    with pytest.raises(UserError, match="class 0 is 'cat' in the one, 'dog' in the other"):
        harness.load_dataset((split("cat", "dog"), split("dog", "cat")))
    with pytest.raises(UserError, match="2 and 3 classes"):
        harness.load_dataset((split("cat", "dog"), split("cat", "dog", "emu")))


def test_a_folder_and_a_tar_of_it_are_the_same_split(workdir: Path, pictures: Pictures) -> None:
    root = pictures(
        workdir / "photos", {"train/cat": 12, "train/dog": 11, "test/cat": 3, "test/dog": 4}
    )
    folder, tar = (
        harness.load_dataset(str(root)),
        harness.load_dataset(str(tar_of(root, workdir / "photos.tar.gz"))),
    )
    assert folder.test.digest == tar.test.digest
    assert folder.fit_digest == tar.fit_digest
    assert (len(folder.train) + len(folder.tune or []), len(folder.test)) == (23, 7)
    assert folder.test.class_names == ("cat", "dog")
    pixels = dict(zip(folder.test.names, next(folder.test.batches(7)).images, strict=True))  # type: ignore[arg-type]
    assert np.array_equal(
        pixels["test/cat/1.png"].permute(1, 2, 0).numpy(),
        np.asarray(Image.open(root / "test/cat/1.png")),
    )


def test_the_store_opens_in_any_arrow_reader(
    workdir: Path, session_data: Path, pictures: Pictures
) -> None:
    root = pictures(
        workdir / "arrows", {"train/cat": 12, "train/dog": 12, "test/cat": 3, "test/dog": 4}, seed=5
    )
    harness.load_dataset(str(root))
    (folder,) = (session_data / "stores").glob("arrows-*")
    table = pa.ipc.open_file(str(folder / "test-00000.arrow")).read_all()
    assert table.column_names == ["key", "label", "name", "height", "width", "image"]
    assert table["height"].to_pylist() == [20] * 7


def test_without_a_test_part_a_balanced_fifth_is_drawn_and_said(
    workdir: Path, pictures: Pictures
) -> None:
    root = pictures(workdir / "photos", {"cat": 20, "dog": 30})
    splits = harness.load_dataset(str(root))
    assert np.bincount(splits.test.labels).tolist() == [4, 6]
    assert "20% (seed 0) is the test split" in splits.dataset_notes[0]
    assert not set(splits.test.keys) & {
        *splits.train.keys,
        *(splits.tune.keys if splits.tune else ()),
    }
    other = harness.load_dataset(f"folder,path={root},split_seed=1")
    assert other.test.digest != splits.test.digest


def test_images_of_many_sizes_are_shrunk_with_aspect_kept(
    workdir: Path, pictures: Pictures
) -> None:
    root = pictures(
        workdir / "photos", {"train/a": 4, "train/b": 4, "test/a": 2, "test/b": 2}, size=(300, 400)
    )
    pictures(root, {"train/c": 4, "test/c": 1}, size=(50, 90))
    test = harness.load_dataset(f"folder,path={root},size=64", tune=1).test
    assert test.image_size is None
    assert sorted({tuple(image.shape) for image in next(test.batches(5)).images}) == [
        (3, 50, 90),
        (3, 64, 85),
    ]


def test_above_the_limit_the_store_is_jpeg_and_says_so(
    workdir: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_module, "RAW_LIMIT", 1000)
    root = pictures(workdir / "big", {"train/a": 4, "train/b": 4, "test/a": 2, "test/b": 2})
    test = harness.load_dataset(str(root), tune=1).test
    assert "codec=jpeg quality=95" in test.preparation
    assert next(test.batches(4)).images.shape == (4, 3, 20, 30)  # type: ignore[union-attr]


def test_a_changed_file_is_prepared_again(workdir: Path, pictures: Pictures) -> None:
    root = pictures(
        workdir / "photos", {"train/cat": 4, "train/dog": 4, "test/cat": 2, "test/dog": 2}
    )
    before = harness.load_dataset(str(root), tune=1).test.digest
    pictures(root, {"test/cat": 1}, seed=99)
    assert harness.load_dataset(str(root), tune=1).test.digest != before


def test_undecodable_images_are_left_out_of_train_and_kept_in_test(
    workdir: Path, pictures: Pictures
) -> None:
    root = pictures(
        workdir / "photos", {"train/cat": 4, "train/dog": 4, "test/cat": 2, "test/dog": 2}
    )
    (root / "train/cat/bad.jpg").write_bytes(b"")
    (root / "test/dog/bad.jpg").write_bytes(b"\xff\xd8 not a jpeg")
    splits = harness.load_dataset(str(root), tune=1)
    assert (len(splits.train) + len(splits.tune or []), len(splits.test)) == (8, 5)
    assert (splits.test.rows < 0).sum() == 1
    assert any("train/cat/bad.jpg (the file is empty)" in remark for remark in splits.dataset_notes)
    assert any("test/dog/bad.jpg" in remark for remark in splits.dataset_notes)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: None, "there is no folder or archive"),
        (lambda root: root.mkdir(), "photos is empty"),
        (
            lambda root: (root / "cat").mkdir(parents=True),
            r"holds no images in class folders; expected train/CLASS/IMAGE.*0 image files seen",
        ),
        (lambda root: root.write_bytes(b"hello"), "neither a folder nor an archive"),
    ],
)
def test_a_source_that_is_none_says_why(
    workdir: Path, make: Callable[[Path], None], words: str
) -> None:
    make(workdir / "photos")
    with pytest.raises(UserError, match=words):
        open_source(workdir / "photos")


def test_a_single_class_is_refused_before_anything_is_prepared(
    workdir: Path, pictures: Pictures
) -> None:
    with pytest.raises(UserError, match=r"photos holds one class only \(cat\)"):
        harness.load_dataset(
            str(pictures(workdir / "photos", {"train/cat": 4, "test/cat": 2})),
            data_root=workdir / "root",
        )
    assert not (workdir / "root").exists()


def test_images_outside_of_class_folders_are_said(workdir: Path, pictures: Pictures) -> None:
    root = pictures(
        workdir / "photos",
        {"train/cat": 4, "train/dog": 4, "test/cat": 2, "test/dog": 2, "test": 3},
    )
    splits = harness.load_dataset(str(root), tune=1)
    assert len(splits.test) == 4
    assert (
        "3 images outside of class folders are passed over, such as test/0.png"
        in splits.dataset_notes
    )


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_damaged_archive_says_where(workdir: Path, pictures: Pictures, keep: float) -> None:
    data = tar_of(
        pictures(workdir / "photos", {"train/cat": 9, "test/cat": 9}), workdir / "photos.tar.gz"
    ).read_bytes()
    (workdir / "cut.tar.gz").write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(UserError, match=r"cut\.tar\.gz is damaged after"):
        harness.load_dataset(str(workdir / "cut.tar.gz"))


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_plain_tar_that_was_cut_says_where(
    workdir: Path, pictures: Pictures, keep: float
) -> None:
    pictures(workdir / "photos", {"train/cat": 9, "test/cat": 9})
    with tarfile.open(workdir / "photos.tar", "w") as archive:
        archive.add(workdir / "photos", arcname="photos")
        end = archive.offset
    (workdir / "cut.tar").write_bytes((workdir / "photos.tar").read_bytes()[: int(end * keep)])
    with pytest.raises(
        UserError,
        match=r"cut\.tar is damaged after photos/t\w+/cat/\d\.png: unexpected end of data; copy or download",
    ):
        open_source(workdir / "cut.tar")


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.zip"])
def test_an_archive_that_is_none_says_so_in_one_line(workdir: Path, name: str) -> None:
    (workdir / name).write_bytes(b"x" * 5000)
    with pytest.raises(
        UserError, match=rf"{name} is damaged after its start: [^\n]+; copy or download it again$"
    ):
        open_source(workdir / name)
