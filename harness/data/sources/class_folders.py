"""class folders (Imagenette and Imagewoof too): `train/CLASS/FILE` and `test/CLASS/FILE` (or `val/`), or just `CLASS/FILE`.

A folder, a tar or a zip of one. A part may lie under other folders (`photos/train/cat/1.jpg`), and what lies deeper than the class
folder belongs to it. Extracted ILSVRC folders are of this layout when the validation images lie in class folders; else see
ilsvrc2012_folders.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.data.sources import PARTS, WHOLE, Source
from harness.data.sources._listed import ListedImages
from harness.data.sources._tree import Tree, is_debris, is_image
from harness.errors import UserError

FALLBACK = True
LAYOUT = "train/CLASS/IMAGE and test/CLASS/IMAGE (or val/), or CLASS/IMAGE"


def open_source(path: Path) -> Source | None:
    """Raises UserError where there are no class folders: nothing is tried after this."""
    tree = Tree(path)
    seen = [name for name in tree.names if is_image(name)]
    names = [name for name in seen if not is_debris(name)]
    images = classify(names)
    if not images:
        raise UserError(f"{path} holds no images in class folders; expected {LAYOUT} ({len(names)} image files seen)")
    if all(class_name.lower() in PARTS for _, class_name in images.values()):
        raise UserError(
            f"{path} holds {' and '.join(sorted({name for _, name in images.values()}))}, but no class folders in them; expected {LAYOUT}"
        )
    outside = [name for name in names if name not in images]
    remarks = [f"{len(outside)} images outside of class folders are passed over, such as {outside[0]}"] if outside else []
    if hidden := [name for name in seen if is_debris(name)]:
        remarks.append(f"{len(hidden)} hidden files are passed over, such as {hidden[0]}")
    return ListedImages(tree, images, layout="class folders", remarks=remarks)


def classify(names: list[str]) -> dict[str, tuple[str, str]]:
    """name -> (part, class) of those `names` that lie in a class folder; folders that all share and that name no part are passed over."""
    pairs: dict[tuple[str, str], tuple[str, str]] = {}  # a million images share some thousand: one object each

    def pair(part: str, class_name: str) -> tuple[str, str]:
        return pairs.setdefault((part, class_name), (part, class_name))

    def position(parts: Sequence[str]) -> int | None:
        return next((i for i, part in enumerate(parts[:-2]) if part.lower() in PARTS), None)

    in_parts = {
        name: pair(PARTS[parts[at].lower()], parts[at + 1])
        for name in names
        if (at := position(parts := name.split("/"))) is not None
    }
    if in_parts:
        return in_parts
    shared = 0
    while all(name.count("/") > shared + 1 for name in names) and len({name.split("/")[shared] for name in names}) == 1:
        shared += 1
    return {name: pair(WHOLE, name.split("/")[shared]) for name in names if name.count("/") > shared}
