"""The labels of the 50,000 ILSVRC-2012 validation images, against which every layout of them is checked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from harness.data.sources import Source
from harness.errors import UserError

VAL_IMAGES = 50_000
VAL_NAME = re.compile(r"ILSVRC2012_val_\d{8}")
# SHA-256 over the lines "ILSVRC2012_val_00000001 n01751748\n", ..., from the ground truth and meta.mat of the development kit.
VAL_TABLE = "93a17e6849c3d1b40cede5541f80a844afbbec44b3f7e1e70afd41fea2a47574"


def table_digest(pairs: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over the sorted lines of (image name without suffix, WordNet id)."""
    return hashlib.sha256(
        "".join(f"{name} {wnid}\n" for name, wnid in sorted(pairs)).encode()
    ).hexdigest()


def check_val_labels(source: Source) -> None:
    """Raises UserError where the source's val part is the 50,000 images under their official names, and their labels are not the kit's."""
    if len(source) < VAL_IMAGES or not all(
        re.fullmatch(r"n\d{8}", name) for name in source.class_names
    ):
        return
    val = (
        (VAL_NAME.search(image.name), source.class_names[image.label])
        for image in source
        if image.part == "val"
    )
    pairs = [(name[0], wnid) for name, wnid in val if name]
    if len(pairs) == VAL_IMAGES and table_digest(pairs) != VAL_TABLE:
        raise UserError(
            f"the validation labels in {source.path} are not those of the ILSVRC-2012 development kit: some images lie in the wrong class, as "
            f"happens where ILSVRC2012_ID is taken for the class index; take the official tars and the kit instead"
        )
