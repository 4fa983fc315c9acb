"""A folder of images as a dataset: from files to splits."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import harness
from harness import UserError
from harness.data import prepare as prepare_module
from harness.engine.request import resolve_request
from harness.workspace import Workspace

Pictures = Callable[..., Path]
PETS = {"train/cat": 12, "train/dog": 11, "test/cat": 3, "test/dog": 4}
FEW_PETS = {"train/cat": 4, "train/dog": 4, "test/cat": 2, "test/dog": 2}


def test_a_folder_and_a_tar_of_it_have_the_same_digests(workdir: Path, pictures: Pictures) -> None:
    root = pictures(workdir / "photos", PETS)
    with tarfile.open(workdir / "photos.tar.gz", "w:gz") as archive:
        archive.add(root, arcname="photos")
    folder = harness.load_dataset(str(root))
    packed = harness.load_dataset(str(workdir / "photos.tar.gz"))
    assert folder.test.digest == packed.test.digest
    assert folder.fit_digest == packed.fit_digest
    assert (len(folder.train) + len(folder.tune or []), len(folder.test)) == (23, 7)
    assert folder.test.class_names == ("cat", "dog")


def test_pixels_are_those_of_the_files(workdir: Path, pictures: Pictures) -> None:
    root = pictures(workdir / "photos", PETS)
    test = harness.load_dataset(str(root)).test
    images = dict(zip(test.names, next(test.batches(7)).images, strict=True))
    expected = np.asarray(Image.open(root / "test/cat/1.png"))
    assert np.array_equal(images["test/cat/1.png"].permute(1, 2, 0).numpy(), expected)


def test_without_a_test_part_a_balanced_fifth_is_held_out_with_a_note(
    workdir: Path, pictures: Pictures
) -> None:
    root = pictures(workdir / "photos", {"cat": 20, "dog": 30})
    splits = harness.load_dataset(str(root))
    assert np.bincount(splits.test.labels).tolist() == [4, 6]
    assert "20% (seed 0) is the test split" in splits.dataset_notes[0]
    assert splits.tune
    assert not set(splits.test.keys) & {*splits.train.keys, *splits.tune.keys}
    other = harness.load_dataset(f"folder,path={root},split_seed=1")
    assert other.test.digest != splits.test.digest


def test_images_of_many_sizes_are_shrunk_with_the_same_aspect(
    workdir: Path, pictures: Pictures
) -> None:
    large = {"train/a": 4, "train/b": 4, "test/a": 2, "test/b": 2}
    root = pictures(workdir / "photos", large, size=(300, 400))
    pictures(root, {"train/c": 4, "test/c": 1}, size=(50, 90))
    test = harness.load_dataset(f"folder,path={root},size=64", tune=1).test
    assert test.image_size is None
    shapes = {tuple(image.shape) for image in next(test.batches(5)).images}
    assert sorted(shapes) == [(3, 50, 90), (3, 64, 85)]


def test_large_datasets_are_stored_as_jpeg_and_say_so(
    workdir: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_module, "RAW_LIMIT", 1000)
    test = harness.load_dataset(str(pictures(workdir / "large", FEW_PETS)), tune=1).test
    assert "codec=jpeg quality=95" in test.preparation
    assert next(test.batches(4)).images.shape == (4, 3, 20, 30)


def test_a_changed_file_is_prepared_again(workdir: Path, pictures: Pictures) -> None:
    root = pictures(workdir / "photos", FEW_PETS)
    before = harness.load_dataset(str(root), tune=1).test.digest
    pictures(root, {"test/cat": 1}, seed=99)
    assert harness.load_dataset(str(root), tune=1).test.digest != before


def test_undecodable_images_are_left_out_of_train_and_kept_in_test(
    workdir: Path, pictures: Pictures
) -> None:
    root = pictures(workdir / "photos", FEW_PETS)
    (root / "train/cat/bad.jpg").write_bytes(b"")
    (root / "test/dog/bad.jpg").write_bytes(b"\xff\xd8 not a jpeg")
    splits = harness.load_dataset(str(root), tune=1)
    assert (len(splits.train) + len(splits.tune or []), len(splits.test)) == (8, 5)
    assert (splits.test.rows < 0).sum() == 1
    notes = "\n".join(splits.dataset_notes)
    assert "train/cat/bad.jpg (the file is empty)" in notes
    assert "test/dog/bad.jpg" in notes


def test_a_note_counts_test_images_of_classes_without_training_images(
    workdir: Path, pictures: Pictures
) -> None:
    counts = {"train/cat": 12, "train/dog": 12, "test/cat": 2, "test/Dog": 3}
    notes = harness.load_dataset(str(pictures(workdir / "photos", counts)), tune=0).dataset_notes
    expected = (
        "3 of 5 test images are of classes without training images, such as 'Dog' "
        "(train has 'dog'): every pipeline misclassifies them"
    )
    assert expected in notes


def test_some_test_images_must_be_of_classes_in_train(workdir: Path, pictures: Pictures) -> None:
    counts = {"train/cat": 12, "train/dog": 12, "val/cat": 2, "test/unknown": 3}
    root = pictures(workdir / "photos", counts)
    message = "all 3 test images are of classes without training images, such as 'unknown'"
    with pytest.raises(UserError, match=message):
        harness.load_dataset(str(root), tune=0)


def test_validation_images_of_unknown_classes_are_counted_too(
    workdir: Path, pictures: Pictures
) -> None:
    pets = {"train/cat": 12, "train/dog": 12, "test/cat": 2, "valid/cat": 2, "valid/emu": 1}
    notes = harness.load_dataset(str(pictures(workdir / "photos", pets))).dataset_notes
    assert "1 of 3 tune images are of classes without training images, such as 'emu'" in notes[1]


def test_a_note_counts_images_outside_class_folders(workdir: Path, pictures: Pictures) -> None:
    root = pictures(workdir / "photos", {**FEW_PETS, "test": 3})
    splits = harness.load_dataset(str(root), tune=1)
    assert len(splits.test) == 4
    note = "3 images outside class folders are ignored, such as test/0.png"
    assert note in splits.dataset_notes


def test_a_single_class_is_refused_before_anything_is_prepared(
    workdir: Path, pictures: Pictures
) -> None:
    root = pictures(workdir / "photos", {"train/cat": 4, "test/cat": 2})
    (root / "train/dog").mkdir()
    (root / "train/dog/1.heic").write_bytes(b"ftypheic")
    message = r"(?s)photos holds one class only \(cat\).*\(1 \.heic\), such as train/dog/1\.heic"
    with pytest.raises(UserError, match=message):
        harness.load_dataset(str(root), data_root=workdir / "root")
    assert not (workdir / "root").exists()


@pytest.mark.parametrize("dataset", [".", None, "subset,of=.,percent=50"])
def test_runs_must_not_be_kept_inside_the_folder(
    workdir: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch, dataset: str | None
) -> None:
    pictures(workdir, {"cat": 4, "dog": 4})
    monkeypatch.setenv("HARNESS_DATASET", str(workdir))
    message = r"would become part of the dataset.*work in another folder"
    with pytest.raises(UserError, match=message):
        resolve_request(Workspace.open(), "hog-svm", dataset)


def test_an_empty_path_is_not_the_working_folder(workdir: Path, pictures: Pictures) -> None:
    pictures(workdir, {"cat": 4, "dog": 4})
    with pytest.raises(UserError, match=r"folder: path= is empty"):
        resolve_request(Workspace.open(), "hog-svm", "folder,path=")


def test_sub_folders_may_be_the_classes(workdir: Path, pictures: Pictures) -> None:
    counts = {f"{part}/{name}": 4 for part in ("train", "val") for name in ("a/x", "a/y", "b/z")}
    root = pictures(workdir / "photos", counts)
    top = harness.load_dataset(str(root), tune=1)
    assert top.test.class_names == ("a", "b")
    assert any("class_level=leaves" in note for note in top.dataset_notes)
    leaves = harness.load_dataset(f"folder,path={root},class_level=leaves", tune=1)
    assert leaves.test.class_names == ("a/x", "a/y", "b/z")
    assert len(leaves.test) == len(top.test) == 12


def test_the_validation_folder_keeps_its_name_in_the_note(
    workdir: Path, pictures: Pictures
) -> None:
    counts = {f"{part}/{name}": 4 for part in ("train", "valid", "test") for name in ("cat", "dog")}
    splits = harness.load_dataset(str(pictures(workdir / "photos", counts)))
    assert splits.dataset_notes == (
        "valid/ (8 images) is the tune split, unless tune is given a number",
    )
    assert splits.tune is not None
    assert splits.tune.names is not None
    assert {name.partition("/")[0] for name in splits.tune.names} == {"valid"}
    joined = harness.load_dataset(f"folder,path={workdir / 'photos'},validation=train", tune=1)
    assert (len(joined.train), joined.fit_digest) == (14, splits.fit_digest)


def test_a_dataset_that_an_earlier_version_read_otherwise_is_prepared_again(
    workdir: Path, pictures: Pictures
) -> None:
    root = pictures(workdir / "photos", FEW_PETS)
    options: dict[str, Any] = {"tune": 1, "data_root": workdir / "root"}
    before = harness.load_dataset(str(root), **options).test.digest
    (manifest,) = (workdir / "root/prepared").glob("*/dataset.json")
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "class_names": ["cat", "dog", "emu"]}))
    splits = harness.load_dataset(str(root), **options)
    assert (splits.test.class_names, splits.test.digest) == (("cat", "dog"), before)
