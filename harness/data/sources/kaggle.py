"""Kaggle's CLS-LOC: ILSVRC/Data/CLS-LOC/{train,val}, LOC_val_solution.csv and
LOC_synset_mapping.txt; a folder or the zip.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from harness.data.decode import is_image
from harness.data.sources import Source
from harness.data.sources._archives import is_archive
from harness.data.sources._file_tree import FileTree
from harness.data.sources._listed_images import ListedImages
from harness.errors import UserError

PAGE = "https://www.kaggle.com/c/imagenet-object-localization-challenge/data"
SOLUTION, MAPPING = "LOC_val_solution.csv", "LOC_synset_mapping.txt"
MARKERS = (SOLUTION, MAPPING, "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")
Images = dict[str, tuple[str, str]]  # (part, WordNet id) by file name


def open_source(path: Path) -> Source | None:
    """Open Kaggle's layout. Test images have no public labels and are ignored."""
    if path.is_dir() and not any((path / marker).exists() for marker in MARKERS):
        return None
    if path.is_file() and not (is_archive(path) and "imagenet-object-localization" in path.name):
        return None
    tree = FileTree(path)
    wnids = sorted(
        line.split()[0] for line in _read_table(tree, MAPPING).splitlines() if line.strip()
    )
    wnid_of = _parse_solution(_read_table(tree, SOLUTION), path)
    images, test_count = _classify(tree.names, wnid_of, path)
    _check_complete(images, wnids, wnid_of, path)
    notes = [f"{test_count:,} test images without labels are ignored"] if test_count else []
    return ListedImages(
        tree, images, layout="Kaggle CLS-LOC", class_names=wnids, dataset_notes=notes
    )


def _read_table(tree: FileTree, file: str) -> str:
    name = next((name for name in tree.names if PurePosixPath(name).name == file), None)
    if name is None:
        raise UserError(
            f"{tree.path} has Kaggle's CLS-LOC layout, but {file} is missing; "
            f"get it from {PAGE} and put it there"
        )
    return tree.read_texts([name])[name]


def _parse_solution(text: str, path: Path) -> dict[str, str]:
    """Return the WordNet id of each validation image: the first word of PredictionString."""
    try:
        rows = csv.DictReader(text.splitlines())
        return {row["ImageId"]: row["PredictionString"].split()[0] for row in rows}
    except (KeyError, IndexError, AttributeError, csv.Error) as error:
        # a missing column, an empty cell, a line that ends early, or an endless cell
        raise UserError(
            f"{path}: {SOLUTION} is damaged ({error}); get it again from {PAGE}"
        ) from error


def _classify(names: list[str], wnid_of: Mapping[str, str], path: Path) -> tuple[Images, int]:
    """Return the images of train and val, and the number of test images."""
    images: Images = {}
    test_count = 0
    for name in names:
        folders = PurePosixPath(name).parts
        if "CLS-LOC" not in folders or not is_image(name):
            continue
        part, *below = folders[folders.index("CLS-LOC") + 1 :]
        if part == "train" and len(below) == 2:
            images[name] = ("train", below[0])
        elif part == "val" and len(below) in (1, 2):
            wnid = _val_wnid(wnid_of, PurePosixPath(name).stem, path)
            if len(below) == 2 and wnid != below[0]:  # some sort them into class folders
                raise UserError(
                    f"{path}: {name} is in folder {below[0]}, but {SOLUTION} says {wnid}"
                )
            images[name] = ("val", wnid)
        elif part == "test":
            test_count += 1
    return images, test_count


def _val_wnid(wnid_of: Mapping[str, str], image: str, path: Path) -> str:
    if image not in wnid_of:
        raise UserError(
            f"{path}: {SOLUTION} has no line for {image}; get the file again from {PAGE}"
        )
    return wnid_of[image]


def _check_complete(
    images: Images, wnids: list[str], wnid_of: Mapping[str, str], path: Path
) -> None:
    for part in ("train", "val"):
        if not any(image_part == part for image_part, _ in images.values()):
            raise UserError(
                f"{path} has Kaggle's CLS-LOC layout, but ILSVRC/Data/CLS-LOC/{part} holds no "
                f"images; get them from {PAGE}"
            )
    if unknown := {wnid for _, wnid in images.values()} - set(wnids):
        raise UserError(
            f"{path}: there are images of class {min(unknown)}, which {MAPPING} does not have"
        )
    if missing := len(wnid_of) - sum(part == "val" for part, _ in images.values()):
        raise UserError(
            f"{path}: {SOLUTION} has {len(wnid_of)} lines, but {missing} of those images are not "
            "in CLS-LOC/val"
        )
