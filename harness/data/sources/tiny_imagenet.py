"""Tiny-ImageNet-200: wnids.txt, train/WNID/images/*.JPEG and val/images/*.JPEG with
val/val_annotations.txt; a folder, tar or zip.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from harness.data.decode import is_image
from harness.data.sources import Source
from harness.data.sources._archives import is_archive
from harness.data.sources._file_tree import FileTree
from harness.data.sources._listed_images import ListedImages
from harness.errors import UserError

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MARKERS = ("val/val_annotations.txt", "wnids.txt")
TOP_FOLDERS = (".", "tiny-imagenet-200")


def open_source(path: Path) -> Source | None:
    """Open Tiny-ImageNet-200.

    The 10,000 val images are scored; the test images have no public labels and are ignored.
    """
    if not _is_tiny_imagenet(path):
        return None
    tree = FileTree(path)
    wnids = sorted(_read(tree, "wnids.txt").split())
    rows = [line.split("\t") for line in _read(tree, "val_annotations.txt").splitlines()]
    known = set(wnids)
    wnid_of = {row[0]: row[1] for row in rows if len(row) > 1 and row[1] in known}
    images, test_count = _classify(tree.names, known, wnid_of, path)
    for part, expected in (("train", len(wnids)), ("val", len(wnid_of))):
        count = sum(image_part == part for image_part, _ in images.values())
        if count < expected:
            raise UserError(
                f"{path}: {part} holds {count} images, fewer than the expected {expected}; "
                f"get it again from {URL}"
            )
    notes = [f"{test_count:,} test images without labels are ignored"] if test_count else []
    return ListedImages(
        tree, images, layout="Tiny-ImageNet-200", class_names=wnids, dataset_notes=notes
    )


def _is_tiny_imagenet(path: Path) -> bool:
    if path.is_file():
        return is_archive(path) and path.name.startswith("tiny-imagenet")
    folders = [path / folder for folder in TOP_FOLDERS]
    return any((folder / marker).exists() for folder in folders for marker in MARKERS)


def _classify(
    names: list[str], wnids: set[str], wnid_of: dict[str, str], path: Path
) -> tuple[dict[str, tuple[str, str]], int]:
    """Return (part, WordNet id) of the images of train and val, and the number of test images."""
    images: dict[str, tuple[str, str]] = {}
    test_count = 0
    for name in names:
        *folders, file = PurePosixPath(name).parts
        if not is_image(name) or len(folders) < 2:
            continue
        parent, grandparent = folders[-1], folders[-2]
        # "train" is required, since some sort val into folders of the same names
        if parent == "images" and grandparent in wnids and "train" in folders[:-2]:
            images[name] = ("train", grandparent)
        elif (grandparent, parent) == ("val", "images"):
            if file not in wnid_of:
                raise UserError(
                    f"{path}: val_annotations.txt has no line for {file}; get it again from {URL}"
                )
            images[name] = ("val", wnid_of[file])
        elif (grandparent, parent) == ("test", "images"):
            test_count += 1
    return images, test_count


def _read(tree: FileTree, file: str) -> str:
    name = next((name for name in tree.names if PurePosixPath(name).name == file), None)
    if name is None:
        raise UserError(
            f"{tree.path} has the Tiny-ImageNet-200 layout, but {file} is missing; "
            f"get it from {URL}"
        )
    return tree.read_texts([name])[name]
