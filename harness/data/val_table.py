"""The labels of the 50,000 ILSVRC-2012 validation images, against which every layout of them is checked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from harness.errors import UserError

VAL_IMAGES = 50_000
# SHA-256 over the lines "ILSVRC2012_val_00000001 n01751748\n", ..., from the ground truth and meta.mat of the development kit.
VAL_TABLE = "93a17e6849c3d1b40cede5541f80a844afbbec44b3f7e1e70afd41fea2a47574"


def table_digest(pairs: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over the sorted lines of (image name without suffix, WordNet id)."""
    return hashlib.sha256("".join(f"{name} {wnid}\n" for name, wnid in sorted(pairs)).encode()).hexdigest()


def check_val_labels(part: str, tables: Sequence[Any], class_names: Sequence[str], path: Path) -> None:
    """Raises UserError where `part` holds all validation images under their official names, and their labels are not the kit's."""
    if part != "val" or sum(map(len, tables)) != VAL_IMAGES or not all(re.fullmatch(r"n\d{8}", name) for name in class_names):
        return
    pairs = [
        (PurePosixPath(name).stem, class_names[label])
        for table in tables
        for name, label in zip(table["name"].to_pylist(), table["label"].to_pylist(), strict=True)
    ]
    if all(re.fullmatch(r"ILSVRC2012_val_\d{8}", name) for name, _ in pairs) and table_digest(pairs) != VAL_TABLE:
        raise UserError(
            f"the validation labels in {path} are not those of the ILSVRC-2012 development kit: some images lie in the wrong class, as "
            f"happens where ILSVRC2012_ID is taken for the class index; take the official tars and the kit instead"
        )
