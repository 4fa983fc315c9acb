"""Classes from CSV tables: Kaggle's labels.csv and Roboflow's _classes.csv."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.data.sources import Source, open_source
from harness.errors import UserError

Pictures = Callable[..., Path]


def labels(source: Source) -> dict[str, str]:
    return {image.name: source.class_names[image.label] for image in source}


@pytest.fixture
def dogs(workdir: Path, pictures: Pictures) -> Path:
    return pictures(workdir / "dogs", {"train": 6, "test": 3})


@pytest.mark.parametrize(
    ("file", "head", "row"),
    [
        ("labels.csv", "id,breed", "{i},{name}"),
        ("train.csv", "image_id;label", "{i}.png;{name}"),
        ("meta/labels.csv", "id\tlabel\tage", "train/{i}.png\t{name}\t{i}.5"),
    ],
)
def test_a_table_gives_the_classes_of_a_flat_folder(
    dogs: Path, file: str, head: str, row: str
) -> None:
    (dogs / "meta").mkdir()
    (dogs / "sample_submission.csv").write_text("id,label\n0,pug\n1,pug\n2,pug\n")
    rows = [row.format(i=i, name="pug" if i % 2 else "boxer") for i in range(6)]
    (dogs / file).write_text("\n".join([head, *rows]))
    source = open_source(dogs)
    expected = {f"train/{i}.png": "pug" if i % 2 else "boxer" for i in range(6)}
    assert labels(source) == expected
    assert {image.part for image in source} == {"train"}
    assert f"{file} (column" in source.dataset_notes[0]
    assert source.dataset_notes[1] == "3 images of test/ have no labels and are passed over"


def test_labels_that_differ_in_case_are_noted(dogs: Path) -> None:
    rows = "".join(f"{i},{('pug', 'Pug', 'boxer')[i % 3]}\n" for i in range(6))
    (dogs / "labels.csv").write_text(f"id,breed\n{rows}")
    assert "differ in case" in open_source(dogs).dataset_notes[1]


def test_a_table_in_a_zip_is_read(dogs: Path, workdir: Path) -> None:
    rows = "".join(f"{i},{'ab'[i % 2]}\n" for i in range(6))
    (dogs / "labels.csv").write_text(f"id,breed\n{rows}")
    with zipfile.ZipFile(workdir / "dogs.zip", "w") as archive:
        for file in sorted(dogs.rglob("*.*")):
            archive.write(file, file.relative_to(dogs))
    assert labels(open_source(workdir / "dogs.zip")) == labels(open_source(dogs))


def test_columns_of_0_and_1_are_classes(workdir: Path, pictures: Pictures) -> None:
    root = pictures(workdir / "robo", {"train": 4, "valid": 2})
    for part, count in (("train", 4), ("valid", 2)):
        rows = [f"{i}.png, {i % 2}, {1 - i % 2}" for i in range(count)]
        (root / part / "_classes.csv").write_text("\n".join(["filename, cat, dog", *rows]))
    (root / "train/_classes.csv").open("a").write("\n3.png, 1, 1")
    source = open_source(root)
    assert labels(source)["train/1.png"] == "cat"
    assert {(image.part, image.name) for image in source if image.part == "val"} == {
        ("val", "valid/0.png"), ("val", "valid/1.png"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("{i}x", "a different value for each of 6 images"),
        ("0.{odd}5", "numbers with a fraction"),
    ],
)
def test_ids_and_measurements_are_no_classes(dogs: Path, value: str, reason: str) -> None:
    rows = [f"{i},{value.format(i=i, odd=i % 2)}" for i in range(6)]
    (dogs / "train.csv").write_text("\n".join(["id,target", *rows]))
    with pytest.raises(UserError, match=rf"train\.csv in .*column target has {reason}"):
        open_source(dogs)


def test_a_table_that_is_not_utf8_is_named(dogs: Path) -> None:
    (dogs / "labels.csv").write_bytes("id,breed\n0,Löwchen".encode("utf-16"))
    with pytest.raises(UserError, match=r"labels\.csv in .* is not UTF-8 text"):
        open_source(dogs)


def test_flat_images_without_a_table_say_what_to_do(dogs: Path) -> None:
    (dogs / "labels.json").write_text("{}")
    message = r"labels\.json cannot be used as labels; move each image.*train/CLASS/0\.png"
    with pytest.raises(UserError, match=message):
        open_source(dogs)


def test_class_folders_do_not_need_a_table(workdir: Path, pictures: Pictures) -> None:
    root = pictures(workdir / "photos", {"train/cat": 2, "train/dog": 2})
    (root / "labels.csv").write_text("id,breed\n0,pug\n1,pug")
    source = open_source(root)
    assert source.class_names == ("cat", "dog")
    assert "labels.csv is there and not read" in source.dataset_notes[0]
