"""class folders: `train/CLASS/FILE` and `test/CLASS/FILE` (or `val/`), or only `CLASS/FILE`;
a folder, tar or zip.

Imagenette and Imagewoof have this layout, and so do extracted ILSVRC folders whose validation
images are sorted into class folders (else see ilsvrc2012_folders.py). A part may lie inside other
folders (`photos/train/cat/1.jpg`), and whatever is deeper than a class folder belongs to it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from harness.data.decode import has_image_suffix, is_image, is_system_file
from harness.data.sources import PARTS, UNSPLIT, Source, part_of
from harness.data.sources._file_tree import FileTree
from harness.data.sources._listed_images import ListedImages
from harness.errors import UserError

FALLBACK = True
LAYOUT = "train/CLASS/IMAGE and test/CLASS/IMAGE (or val/), or CLASS/IMAGE"


def open_source(path: Path) -> Source | None:
    """Open class folders; raise UserError if there are none, since this layout is tried last."""
    tree = FileTree(path)
    names = [name for name in tree.names if is_image(name)]
    images = classify(names)
    if not images:
        raise UserError(
            f"{path} holds no images in class folders; expected {LAYOUT} "
            f"(image files found: {len(names)})"
        )
    class_names = {class_name for _, class_name in images.values()}
    if all(class_name.lower() in PARTS for class_name in class_names):
        raise UserError(
            f"{path} holds {' and '.join(sorted(class_names))}, but no class folders in them; "
            f"expected {LAYOUT}"
        )
    notes = _ignored_notes(tree.names, [name for name in names if name not in images])
    return ListedImages(tree, images, layout="class folders", dataset_notes=notes)


def _ignored_notes(names: list[str], unclassified: list[str]) -> list[str]:
    hidden = [name for name in names if is_system_file(name) and has_image_suffix(name)]
    other = [
        name
        for name in names
        if "/" in name and not is_system_file(name) and not has_image_suffix(name)
    ]
    ignored = {
        "images outside class folders": unclassified,
        "hidden files": hidden,
        "files without an image suffix": other,
    }
    return [
        f"{len(files):,} {kind} are ignored, such as {files[0]}"
        for kind, files in ignored.items()
        if files
    ]


def classify(names: list[str]) -> dict[str, tuple[str, str]]:
    """Find the part and the class of images by their folders.

    A folder is a part if its whole name says so. If there is none, a word of the name suffices
    (`seg_train`), provided that more than one part is named so and most images lie in one: else
    `bullet-train` may be a class. Without parts, folders that all images share are skipped.

    Returns
    -------
    images : dict of (part, class name)
        Of those names that lie in a class folder.
    """
    by_full_name = _in_part_folders(names, lambda folder: PARTS.get(folder.lower(), UNSPLIT))
    if by_full_name:
        return by_full_name
    by_word = _in_part_folders(names, cache(part_of))
    has_several_parts = len({part for part, _ in by_word.values()}) > 1
    if has_several_parts and 2 * len(by_word) > len(names):
        return by_word
    depth = 0  # of the folders that all images share
    while (
        all(name.count("/") > depth + 1 for name in names)
        and len({name.split("/")[depth] for name in names}) == 1
    ):
        depth += 1
    pairs = _SharedPairs()
    return {
        name: pairs.get(UNSPLIT, name.split("/")[depth])
        for name in names
        if name.count("/") > depth
    }


def _in_part_folders(
    names: list[str], part_of_folder: Callable[[str], str]
) -> dict[str, tuple[str, str]]:
    """Return (part, class name) of the images below a folder that names a part."""
    pairs = _SharedPairs()
    images = {}
    for name in names:
        *folders, _ = name.split("/")
        part_folders = (folder for folder in folders[:-1] if part_of_folder(folder) != UNSPLIT)
        part_folder = next(part_folders, None)
        if part_folder is None:
            continue
        below = folders[folders.index(part_folder) :]
        while len(below) > 2 and below[1] == part_folder:  # train/train/cat
            below.pop(0)
        images[name] = pairs.get(part_of_folder(part_folder), below[1])
    return images


class _SharedPairs:
    """One tuple per (part, class name), since a million images share some thousands."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[str, str], tuple[str, str]] = {}

    def get(self, part: str, class_name: str) -> tuple[str, str]:
        pair = (part, class_name)
        return self._pairs.setdefault(pair, pair)
