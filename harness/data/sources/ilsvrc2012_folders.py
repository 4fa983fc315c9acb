"""extracted ILSVRC-2012: train/WNID/*.JPEG, the validation images flat in val/, and
ILSVRC2012_devkit_t12 (a folder or .tar.gz) beside them.

This is how `tar -x` leaves them. With the validation images sorted into class folders, the layout
is that of class folders, which needs no kit.
"""

from __future__ import annotations

import os
from pathlib import Path

from harness.data.decode import is_image
from harness.data.sources import Source
from harness.data.sources._file_tree import FileTree
from harness.data.sources._ilsvrc import read_kit
from harness.data.sources._ilsvrc_val_labels import VAL_NAME
from harness.data.sources._listed_images import ListedImages
from harness.data.sources.ilsvrc2012 import YEAR
from harness.errors import UserError

VAL_TRUTH = YEAR.truth["val"]


def open_source(path: Path) -> Source | None:
    if not _is_flat(path / "val"):
        return None
    kit = read_kit(path, YEAR)
    if "val" not in kit.truth:
        raise YEAR.missing_error(path, f"{VAL_TRUTH} (in the development kit {YEAR.kit})")
    wnid_of = {
        f"ILSVRC2012_val_{i:08}": kit.class_names[label]
        for i, label in enumerate(kit.labels("val"), 1)
    }
    tree = FileTree(path)
    images = _classify(tree.names, wnid_of, path)
    if unknown := {wnid for _, wnid in images.values()} - set(kit.class_names):
        raise UserError(
            f"{path}/train has a folder {min(unknown)}, but the development kit has no such class"
        )
    val_count = sum(part == "val" for part, _ in images.values())
    if val_count != len(wnid_of):
        raise UserError(
            f"{path}/val holds {val_count} images, but {VAL_TRUTH} has {len(wnid_of)} lines: "
            "one of them is incomplete"
        )
    if val_count == len(images):
        raise UserError(
            f"{path}/train holds no images in class folders: "
            f"unpack {YEAR.tars['train'][0]} there, and the tars inside it"
        )
    return ListedImages(tree, images, layout="ILSVRC-2012, extracted", class_names=kit.class_names)


def _classify(names: list[str], wnid_of: dict[str, str], path: Path) -> dict[str, tuple[str, str]]:
    """Return (part, WordNet id) of the images; raise UserError for a val image without a label."""
    images: dict[str, tuple[str, str]] = {}
    for name in names:
        part, *below = name.split("/")
        if not is_image(name):
            continue
        if part == "train" and len(below) == 2:
            images[name] = ("train", below[0])
        elif part == "val" and len(below) == 1:
            stem = below[0].partition(".")[0]
            if stem not in wnid_of:
                raise UserError(
                    f"{path / name} is none of the {len(wnid_of)} images of {VAL_TRUTH}"
                )
            images[name] = ("val", wnid_of[stem])
    return images


def _is_flat(val: Path) -> bool:
    """Return whether a folder directly contains a validation image."""
    if not val.is_dir():
        return False
    with os.scandir(val) as entries:
        return any(VAL_NAME.match(entry.name) and entry.is_file() for entry in entries)
