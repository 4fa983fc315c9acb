"""The check of ILSVRC-2012's validation labels, made for every layout of its images."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from harness.data.sources import Source
from harness.errors import UserError

VAL_IMAGES = 50_000
VAL_NAME = re.compile(r"ILSVRC2012_val_\d{8}")
# SHA-256 of the lines "ILSVRC2012_val_00000001 n01751748\n", ..., which were made from the ground
# truth and meta.mat of the development kit.
VAL_LABELS_DIGEST = "93a17e6849c3d1b40cede5541f80a844afbbec44b3f7e1e70afd41fea2a47574"


def labels_digest(pairs: Iterable[tuple[str, str]]) -> str:
    """Return the SHA-256 of the sorted lines of (image name without suffix, WordNet id)."""
    lines = (f"{name} {wnid}\n" for name, wnid in sorted(pairs))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_val_labels(source: Source) -> None:
    """Raise UserError if a source has the 50,000 validation images with other labels.

    Sources whose val part is something else are not checked.
    """
    has_wnids = all(re.fullmatch(r"n\d{8}", name) for name in source.class_names)
    if len(source) < VAL_IMAGES or not has_wnids:
        return
    pairs = []
    for image in source:
        match = VAL_NAME.search(image.name)
        if image.part == "val" and match:
            pairs.append((match[0], source.class_names[image.label]))
    if len(pairs) == VAL_IMAGES and labels_digest(pairs) != VAL_LABELS_DIGEST:
        raise UserError(
            f"the validation labels in {source.path} are not those of the ILSVRC-2012 development "
            "kit: some images are in the wrong class, as happens if ILSVRC2012_ID is taken for the "
            "class index; use the official tars and the kit instead"
        )
