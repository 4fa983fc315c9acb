"""Tiny-ImageNet-200: wnids.txt, train/WNID/images/*.JPEG and val/images/*.JPEG with val/val_annotations.txt; a folder, tar or zip."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from harness.data.decode import is_image
from harness.data.sources import Source
from harness.data.sources._listed import ListedImages
from harness.data.sources._tree import Tree, is_archive
from harness.errors import UserError

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"


def open_source(path: Path) -> Source | None:
    """The val images are what is scored (10,000); the test images have no public labels and are passed over."""
    if path.is_dir() and not any((path / folder / "val" / "val_annotations.txt").exists() or (path / folder / "wnids.txt").exists()
                                 for folder in (".", "tiny-imagenet-200")):  # fmt: skip
        return None
    if path.is_file() and not (is_archive(path) and path.name.startswith("tiny-imagenet")):
        return None
    tree = Tree(path)
    wnids = sorted(_read(tree, "wnids.txt").split())
    classes = set(wnids)
    rows = (line.split("\t") for line in _read(tree, "val_annotations.txt").splitlines())
    label = {row[0]: row[1] for row in rows if len(row) > 1 and row[1] in classes}
    images, test = {}, 0
    for name in tree.names:
        parts = PurePosixPath(name).parts
        if not is_image(name) or len(parts) < 3:
            continue
        if (
            parts[-2] == "images" and parts[-3] in classes and "train" in parts[:-3]
        ):  # some sort val into folders of the same names
            images[name] = ("train", parts[-3])
        elif parts[-3:-1] == ("val", "images"):
            if parts[-1] not in label:
                raise UserError(
                    f"{path}: val_annotations.txt has no line for {parts[-1]}; get it again from {URL}"
                )
            images[name] = ("val", label[parts[-1]])
        elif parts[-3:-1] == ("test", "images"):
            test += 1
    for part, wanted in (("train", len(wnids)), ("val", len(label))):
        if (there := sum(p == part for p, _ in images.values())) < wanted:
            raise UserError(
                f"{path}: {part} holds {there} images, fewer than the {wanted} there must be; get it again from {URL}"
            )
    dataset_notes = [f"{test} test images without labels are passed over"] if test else []
    return ListedImages(
        tree, images, layout="Tiny-ImageNet-200", class_names=wnids, dataset_notes=dataset_notes
    )


def _read(tree: Tree, file: str) -> str:
    name = next((name for name in tree.names if PurePosixPath(name).name == file), None)
    if name is None:
        raise UserError(
            f"{tree.path} is of the Tiny-ImageNet-200 layout, but {file} is missing; get it from {URL}"
        )
    return tree.read(name).decode()
