"""Kaggle's CLS-LOC: ILSVRC/Data/CLS-LOC/{train,val}, LOC_val_solution.csv and LOC_synset_mapping.txt; a folder or the zip."""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath

from harness.data.decode import is_image
from harness.data.sources import Source
from harness.data.sources._listed import ListedImages
from harness.data.sources._tree import Tree, is_archive
from harness.errors import UserError

PAGE = "https://www.kaggle.com/c/imagenet-object-localization-challenge/data"
FILES = ("LOC_val_solution.csv", "LOC_synset_mapping.txt")


def open_source(path: Path) -> Source | None:
    """Validation labels are the first word of PredictionString; the test images have no public labels and are passed over."""
    if path.is_dir() and not any(
        (path / place).exists() for place in (*FILES, "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")
    ):
        return None
    if path.is_file() and not (is_archive(path) and "imagenet-object-localization" in path.name):
        return None
    tree = Tree(path)
    tables = {
        file: next((name for name in tree.names if PurePosixPath(name).name == file), None)
        for file in FILES
    }
    for file, place in tables.items():
        if place is None:
            raise UserError(
                f"{path} is of Kaggle's CLS-LOC layout, but {file} is missing; get it from {PAGE} and put it there"
            )
    text = {file: tree.read(str(place)).decode() for file, place in tables.items()}
    wnids = sorted(
        line.split()[0] for line in text["LOC_synset_mapping.txt"].splitlines() if line.strip()
    )
    label = _solution(text["LOC_val_solution.csv"], path)
    images, test = {}, 0
    for name in tree.names:
        parts = PurePosixPath(name).parts
        if "CLS-LOC" not in parts or not is_image(name):
            continue
        part, *below = parts[parts.index("CLS-LOC") + 1 :]
        if part == "train" and len(below) == 2:
            images[name] = ("train", below[0])
        elif part == "val" and len(below) == 1:
            images[name] = ("val", _label(label, PurePosixPath(name).stem, path))
        elif part == "val" and len(below) == 2:  # sorted into class folders, as people do
            images[name] = ("val", _label(label, PurePosixPath(name).stem, path))
            if images[name][1] != below[0]:
                raise UserError(
                    f"{path}: {name} lies in folder {below[0]}, but LOC_val_solution.csv says {images[name][1]}"
                )
        elif part == "test":
            test += 1
    _check(images, wnids, label, path)
    dataset_notes = [f"{test} test images without labels are passed over"] if test else []
    return ListedImages(
        tree, images, layout="Kaggle CLS-LOC", class_names=wnids, dataset_notes=dataset_notes
    )


def _solution(text: str, path: Path) -> dict[str, str]:
    """WordNet id of each validation image."""
    try:
        return {
            row["ImageId"]: row["PredictionString"].split()[0]
            for row in csv.DictReader(text.splitlines())
        }
    except (
        KeyError,
        IndexError,
        AttributeError,
    ) as error:  # no such column, nothing in it, a line that ends before it
        raise UserError(
            f"{path}: LOC_val_solution.csv is damaged ({error}); get it again from {PAGE}"
        ) from error


def _label(label: dict[str, str], image: str, path: Path) -> str:
    if image not in label:
        raise UserError(
            f"{path}: LOC_val_solution.csv has no line for {image}; get the file again from {PAGE}"
        )
    return label[image]


def _check(
    images: dict[str, tuple[str, str]], wnids: list[str], label: dict[str, str], path: Path
) -> None:
    for part in ("train", "val"):
        if not any(p == part for p, _ in images.values()):
            raise UserError(
                f"{path} is of Kaggle's CLS-LOC layout, but ILSVRC/Data/CLS-LOC/{part} holds no images; get them from {PAGE}"
            )
    if strange := {wnid for _, wnid in images.values()} - set(wnids):
        raise UserError(
            f"{path}: LOC_synset_mapping.txt has no class {min(strange)}, and there are images of it"
        )
    if missing := len(label) - sum(part == "val" for part, _ in images.values()):
        raise UserError(
            f"{path}: LOC_val_solution.csv has {len(label)} lines, and {missing} of those images are not in CLS-LOC/val"
        )
