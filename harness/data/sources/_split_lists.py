"""Official splits in text files beside class folders: CUB-200-2011's and Food-101's layouts."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from harness.data.class_names import normalize
from harness.data.decode import FORMAT_OF_SUFFIX, is_system_file
from harness.data.sources import PARTS
from harness.data.sources._file_tree import FileTree
from harness.data.sources._layout import Layout
from harness.errors import UserError

CUB_IMAGES, CUB_SPLIT = "images.txt", "train_test_split.txt"
Listed = list[tuple[str, str]]  # part, and the path of an image as a list has it


def read_split_lists(tree: FileTree, images: Sequence[str]) -> Layout | None:
    """Return the official split of a tree, or None if it has none of a known layout.

    Known are CUB's images.txt with train_test_split.txt, and Food-101's train.txt with test.txt,
    whose lines are paths below the class folders, with or without suffix.

    Raises
    ------
    UserError
        If a list is damaged or names an image in two parts.
    """
    if any(folder.lower() in PARTS for name in images for folder in name.split("/")[:-1]):
        return None  # folders say what the parts are
    by_stem = {_without_suffix(name): name for name in images}
    for folder, files in _list_folders(tree.names):
        texts = tree.read_texts([f"{folder}{file}" for file in files])
        listed = [_parse_cub, _parse_lists][CUB_SPLIT not in files](
            {file: texts[f"{folder}{file}"] for file in files}
        )
        prefix = _common_prefix(folder, listed, by_stem)
        if prefix is not None:
            return _read(tree, images, listed, (prefix, by_stem), [f"{folder}{f}" for f in files])
    return None


def _list_folders(names: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the folders with a known set of lists, each with a slash at the end."""
    files_of: dict[str, set[str]] = {}
    for name in names:
        if name.endswith(".txt") and not is_system_file(name):
            folder, _, file = name.rpartition("/")
            files_of.setdefault(f"{folder}/" if folder else "", set()).add(file)
    for folder, files in sorted(files_of.items()):
        parts = sorted(file for file in files if file.removesuffix(".txt") in PARTS)
        if {CUB_IMAGES, CUB_SPLIT} <= files:
            yield folder, [CUB_IMAGES, CUB_SPLIT]
        elif len({PARTS[file.removesuffix(".txt")] for file in parts}) > 1:
            yield folder, parts


def _parse_cub(texts: Mapping[str, str]) -> Listed:
    tables = {
        file: dict(line.split(maxsplit=1) for line in text.splitlines() if len(line.split()) > 1)
        for file, text in texts.items()
    }
    path_of, is_train = tables[CUB_IMAGES], tables[CUB_SPLIT]
    parts = {"1": "train", "0": "test"}
    return [
        (parts[is_train[number].strip()], path.strip())
        for number, path in path_of.items()
        if is_train.get(number, "").strip() in parts
    ]


def _parse_lists(texts: Mapping[str, str]) -> Listed:
    return [
        (PARTS[file.removesuffix(".txt")], line.strip())
        for file, text in texts.items()
        for line in text.splitlines()
        if line.strip()
    ]


def _common_prefix(folder: str, listed: Listed, by_stem: Mapping[str, str]) -> str | None:
    """Return the folder that the paths of most lines start from, or None."""
    around = posixpath.dirname(folder.rstrip("/"))
    candidates = [folder, posixpath.join(around, "")] if folder else [""]
    for base in [*candidates, *(f"{base}images/" for base in candidates)]:
        count = sum(_resolve(base, path, by_stem) is not None for _, path in listed)
        if 2 * count > len(listed):
            return base
    return None


def _resolve(base: str, path: str, by_stem: Mapping[str, str]) -> str | None:
    """Return the image of a line: a path with or without suffix, perhaps with a label after it."""
    for text in (path, path.rpartition(" ")[0]):
        stem = _without_suffix(posixpath.normpath(base + text))
        if text and "/" in stem and stem in by_stem:
            return by_stem[stem]
    return None


def _without_suffix(name: str) -> str:
    suffix = PurePosixPath(name).suffix
    return name[: -len(suffix)] if suffix.lower() in FORMAT_OF_SUFFIX else name


def _read(
    tree: FileTree,
    images: Sequence[str],
    listed: Listed,
    where: tuple[str, Mapping[str, str]],
    files: Sequence[str],
) -> Layout:
    layout = Layout()
    missing: list[str] = []
    for part, path in listed:
        name = _resolve(where[0], path, where[1])
        if name is None:
            missing.append(path)
            continue
        if layout.images.get(name, (part, ""))[0] != part:
            raise UserError(
                f"{tree.path}: {' and '.join(files)} put {name} into {part} and into "
                f"{layout.images[name][0]}; correct the lists, or remove them to draw a test split"
            )
        layout.images[name] = (part, normalize(PurePosixPath(name).parent.name))
    counts = [
        f"{count:,} {part}"
        for part in ("train", "val", "test")
        if (count := sum(pair[0] == part for pair in layout.images.values()))
    ]
    layout.notes.append(f"the split is that of {' and '.join(files)}: {', '.join(counts)} images")
    if missing:
        layout.notes.append(
            f"{len(missing):,} images of these lists are not there, such as {missing[0]}"
        )
    if unlisted := len(images) - len(layout.images):
        layout.notes.append(f"{unlisted:,} images are in none of these lists and are passed over")
    return layout
