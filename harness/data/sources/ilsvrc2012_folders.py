"""extracted ILSVRC-2012: train/WNID/*.JPEG, the validation images flat in val/, and ILSVRC2012_devkit_t12 (a folder or .tar.gz) beside them.

As `tar -x` leaves them. Once the validation images are sorted into class folders, it is the layout of class folders, which needs no kit.
"""

from __future__ import annotations

import os
from pathlib import Path

from harness.data.decode import is_image
from harness.data.sources import Source
from harness.data.sources._ilsvrc import read_kit
from harness.data.sources._ilsvrc_val_labels import VAL_NAME
from harness.data.sources._listed import ListedImages
from harness.data.sources._tree import Tree
from harness.data.sources.ilsvrc2012 import YEAR
from harness.errors import UserError


def open_source(path: Path) -> Source | None:
    if not _flat(path / "val"):
        return None
    kit = read_kit(path, YEAR)
    if "val" not in kit.truth:
        raise YEAR.missing(path, f"{YEAR.truth['val']} (in the development kit {YEAR.kit})")
    wnid_of = {
        f"ILSVRC2012_val_{i:08}": kit.class_names[label]
        for i, label in enumerate(kit.labels("val"), 1)
    }
    tree = Tree(path)
    images: dict[str, tuple[str, str]] = {}
    for name in tree.names:
        part, *below = name.split("/")
        if part == "train" and len(below) == 2 and is_image(name):
            images[name] = ("train", below[0])
        elif part == "val" and len(below) == 1 and is_image(name):
            if (stem := below[0].partition(".")[0]) not in wnid_of:
                raise UserError(
                    f"{path / name} is none of the {len(wnid_of)} images of {YEAR.truth['val']}"
                )
            images[name] = ("val", wnid_of[stem])
    if strange := {wnid for _, wnid in images.values()} - set(kit.class_names):
        raise UserError(
            f"{path}/train has a folder {min(strange)}, and the development kit has no such class"
        )
    val = sum(part == "val" for part, _ in images.values())
    if val != len(wnid_of):
        raise UserError(
            f"{path}/val holds {val} images, but {YEAR.truth['val']} has {len(wnid_of)} lines: one is not whole"
        )
    if val == len(images):
        raise UserError(
            f"{path}/train holds no images in class folders: unpack {YEAR.tars['train'][0]} there, and the tars inside it"
        )
    return ListedImages(tree, images, layout="ILSVRC-2012, extracted", class_names=kit.class_names)


def _flat(val: Path) -> bool:
    """Whether one of the folder's entries is a validation image; of images in class folders there are but a thousand."""
    if not val.is_dir():
        return False
    with os.scandir(val) as entries:
        return any(VAL_NAME.match(entry.name) and entry.is_file() for entry in entries)
