"""class folders (Imagenette and Imagewoof too): `train/CLASS/FILE` and `test/CLASS/FILE` (or `val/`), or just `CLASS/FILE`.

A folder, a tar or a zip of one. A part may lie under other folders (`photos/train/cat/1.jpg`), and what lies deeper than the class
folder belongs to it. Extracted ILSVRC folders are of this layout when the validation images lie in class folders.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from harness.data.sources import PARTS, WHOLE, Source
from harness.data.sources._listed import ListedImages
from harness.data.sources._tree import Tree, is_image
from harness.errors import UserError

FALLBACK = True
LAYOUT = "train/CLASS/IMAGE and test/CLASS/IMAGE (or val/), or CLASS/IMAGE"


def open_source(path: Path) -> Source | None:
    """Raises UserError where there are no class folders: nothing is tried after this."""
    tree = Tree(path)
    names = [name for name in tree.names if is_image(name)]
    images = classify(names)
    if not images:
        raise UserError(f"{path} holds no images in class folders; expected {LAYOUT} ({len(names)} image files seen)")
    return ListedImages(tree, images, layout="class folders")


def classify(names: list[str]) -> dict[str, tuple[str, str]]:
    """name -> (part, class) of those `names` that lie in a class folder; folders that all share and that name no part are passed over."""
    split = [PurePosixPath(name).parts for name in names]
    positions = [next((i for i, part in enumerate(parts[:-2]) if part.lower() in PARTS), None) for parts in split]
    if any(position is not None for position in positions):
        return {
            name: (PARTS[parts[position].lower()], parts[position + 1])
            for name, parts, position in zip(names, split, positions, strict=True)
            if position is not None
        }
    shared = 0
    while all(len(parts) > shared + 2 for parts in split) and len({parts[shared] for parts in split}) == 1:
        shared += 1
    return {name: (WHOLE, parts[shared]) for name, parts in zip(names, split, strict=True) if len(parts) > shared + 1}
