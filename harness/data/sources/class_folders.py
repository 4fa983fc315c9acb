"""class folders: `train/CLASS/FILE` and `test/CLASS/FILE` (or `val/`), or only `CLASS/FILE`;
a folder, tar or zip.

Imagenette and Imagewoof have this layout, and so do extracted ILSVRC folders whose validation
images are sorted into class folders (else see ilsvrc2012_folders.py). A part may lie inside other
folders (`photos/train/cat/1.jpg`), and whatever is deeper than a class folder belongs to it.
Lists and tables beside the folders are read if they have a known layout (CUB-200-2011, Food-101,
a CSV of labels).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.data.decode import is_image
from harness.data.sources import PARTS, ClassLevel, Source, part_of
from harness.data.sources._archives import TAR_SUFFIXES
from harness.data.sources._file_tree import FileTree
from harness.data.sources._label_tables import read_label_tables
from harness.data.sources._layout import Layout, lay_out
from harness.data.sources._listed_images import ListedImages
from harness.data.sources._passed_over import (
    contents,
    passed_over_notes,
    unread_split_files,
    unread_split_note,
)
from harness.data.sources._split_lists import read_split_lists
from harness.errors import UserError

FALLBACK = True
LAYOUT = "train/CLASS/IMAGE and test/CLASS/IMAGE (or val/), or CLASS/IMAGE"


def open_source(path: Path, class_level: ClassLevel = "top") -> Source | None:
    """Open class folders; raise UserError if there are none, since this layout is tried last."""
    tree = FileTree(path)
    images = [name for name in tree.names if is_image(name)]
    layout = read_split_lists(tree, images) or read_label_tables(tree, images)
    reading, reported = "-official", set(images)
    if layout is None:
        layout = lay_out(images, str(path), class_level)
        _check_classes(tree, images, layout)
        layout.notes += unread_split_note(tree.names, images)
        reading = f"-{class_level}" if class_level != "top" else ""
        reported = {name for name in images if name in layout.images or layout.reports(name)}
    notes = [*layout.notes, *passed_over_notes(tree.names, images, reported)]
    return ListedImages(
        tree,
        layout.images,
        layout="class folders",
        dataset_notes=notes,
        part_folders=layout.part_folders,
        reading=reading,
    )


def _check_classes(tree: FileTree, images: Sequence[str], layout: Layout) -> None:
    """Raise UserError if there are no classes, or none but the names of parts."""
    class_names = {class_name for _, class_name in layout.images.values()}
    if class_names and not all(class_name.lower() in PARTS for class_name in class_names):
        return
    tables = unread_split_files(tree.names, images)
    unread = f"; {', '.join(tables[:3])} cannot be used as labels" if tables else ""
    advice = ""
    if images:
        example = next((name for name in images if part_of(name) == "train"), images[0])
        folder, _, file = example.rpartition("/")
        moved = f"{folder}/CLASS/{file}".lstrip("/")
        advice = f"; move each image into a folder named after its class, such as {moved}"
    if class_names:
        raise UserError(
            f"{tree.path} holds {' and '.join(sorted(class_names))}, but no class folders in them; "
            f"expected {LAYOUT}{unread}{advice}"
        )
    if not images and any(name.endswith((*TAR_SUFFIXES, ".zip")) for name in tree.names):
        advice = "; unpack the archives inside it first"
    raise UserError(
        f"{tree.path} holds no images in class folders; expected {LAYOUT} "
        f"(image files found: {len(images)}; in all: {contents(tree.names)}){unread}{advice}"
    )
