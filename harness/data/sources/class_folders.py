"""class folders (Imagenette and Imagewoof too): `train/CLASS/FILE` and `test/CLASS/FILE` (or `val/`), or just `CLASS/FILE`.

A folder, a tar or a zip of one. A part may lie under other folders (`photos/train/cat/1.jpg`), and what lies deeper than the class
folder belongs to it. Extracted ILSVRC folders are of this layout when the validation images lie in class folders; else see
ilsvrc2012_folders.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from harness.data.decode import has_image_suffix, is_debris, is_image
from harness.data.sources import PARTS, WHOLE, Source, part_of
from harness.data.sources._listed import ListedImages
from harness.data.sources._tree import Tree
from harness.errors import UserError

FALLBACK = True
LAYOUT = "train/CLASS/IMAGE and test/CLASS/IMAGE (or val/), or CLASS/IMAGE"


def open_source(path: Path) -> Source | None:
    """Raises UserError where there are no class folders: nothing is tried after this."""
    tree = Tree(path)
    names = [name for name in tree.names if is_image(name)]
    images = classify(names)
    if not images:
        raise UserError(
            f"{path} holds no images in class folders; expected {LAYOUT} ({len(names)} image files seen)"
        )
    if all(class_name.lower() in PARTS for _, class_name in images.values()):
        raise UserError(
            f"{path} holds {' and '.join(sorted({name for _, name in images.values()}))}, but no class folders in them; expected {LAYOUT}"
        )
    outside = [name for name in names if name not in images]
    dataset_notes = (
        [f"{len(outside)} images outside of class folders are passed over, such as {outside[0]}"]
        if outside
        else []
    )
    hidden = [name for name in tree.names if is_debris(name) and has_image_suffix(name)]
    others = [
        name
        for name in tree.names
        if "/" in name and not is_debris(name) and not has_image_suffix(name)
    ]
    for what, passed in (
        ("hidden files", hidden),
        ("files whose names do not end as an image's", others),
    ):
        if passed:
            dataset_notes.append(f"{len(passed)} {what} are passed over, such as {passed[0]}")
    return ListedImages(tree, images, layout="class folders", dataset_notes=dataset_notes)


def classify(names: list[str]) -> dict[str, tuple[str, str]]:
    """name -> (part, class) of those `names` that lie in a class folder; folders that all share and that name no part are passed over.

    A folder names a part by its whole name. By one of its words (`seg_train`) where no folder does so, more than one part is named, and
    most images lie in one: else `bullet-train` may be a class.
    """
    pairs: dict[
        tuple[str, str], tuple[str, str]
    ] = {}  # a million images share some thousand: one object each

    def pair(part: str, class_name: str) -> tuple[str, str]:
        return pairs.setdefault((part, class_name), (part, class_name))

    def in_parts(part: Callable[[str], str]) -> dict[str, tuple[str, str]]:
        found = {}
        for name in names:
            *folders, _ = name.split("/")
            named = next((folder for folder in folders[:-1] if part(folder) != WHOLE), None)
            if named is not None:
                below = folders[folders.index(named) :]
                while len(below) > 2 and below[1] == named:  # train/train/cat
                    below.pop(0)
                found[name] = pair(part(named), below[1])
        return found

    if exactly := in_parts(lambda folder: PARTS.get(folder.lower(), WHOLE)):
        return exactly
    by_a_word = in_parts(cache(part_of))
    if 2 * len(by_a_word) > len(names) and len({part for part, _ in by_a_word.values()}) > 1:
        return by_a_word
    shared = 0
    while (
        all(name.count("/") > shared + 1 for name in names)
        and len({name.split("/")[shared] for name in names}) == 1
    ):
        shared += 1
    return {
        name: pair(WHOLE, name.split("/")[shared]) for name in names if name.count("/") > shared
    }
