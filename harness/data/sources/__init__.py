"""Sources of images: one file per layout, and the protocol that all layouts implement.

A layout is a module of this folder with a docstring, whose first paragraph names the layout in
messages, and one function,

    def open_source(path: Path) -> Source | None

It returns None if `path` does not look like this layout. If it does but cannot be used, the
function raises a UserError that names what is missing and where to get it. A new layout is one new
file. `FALLBACK = True` marks class folders, which are tried after the others.
"""

from __future__ import annotations

import inspect
import os
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Literal, Protocol

from harness.errors import UserError

_WORDS = {"train": "train training", "test": "test testing", "val": "val valid validation dev"}
PARTS = {
    f"{word}{ending}": part
    for part, words in _WORDS.items()
    for word in words.split()
    for ending in ("", "set", "data", "images")
}
ClassLevel = Literal["top", "leaves"]
UNSPLIT = "all"  # the part of images that belong to no split


@dataclass(frozen=True)
class SourceImage:
    """One image of a source.

    Attributes
    ----------
    part : str
        train, val or test; all if the source has no parts.
    name : str
        Unique within the source, so that people can find the image again.
    label : int
        Index into the source's class names.
    read : callable
        Returns the encoded bytes. To be called before the next image is requested, or not at all.
        Raises decode.Undecodable for what cannot be read as a file of the source, such as a link
        that leads out of an archive.
    """

    part: str
    name: str
    label: int
    read: Callable[[], bytes]


class Source(Protocol):
    """Labeled images in some layout. Iteration yields them always in the same order.

    Attributes
    ----------
    path : Path
        What the user gave.
    layout : str
        The name of the layout, for people.
    class_names : tuple of str
        In label order: sorted WordNet ids if the layout has them, else sorted names.
    fingerprint : str
        Hex digits that change if a file is added, removed, resized or rewritten: a hash of paths,
        sizes and times, not of contents.
    dataset_notes : tuple of str
        What the user should know: which files were ignored, and why.
    part_folders : mapping of str
        By part, what it is called in the source, such as `valid/` for val; may lack parts.
    """

    path: Path
    layout: str
    class_names: tuple[str, ...]
    fingerprint: str
    dataset_notes: tuple[str, ...]
    part_folders: Mapping[str, str]

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[SourceImage]: ...


def open_source(path: Path, class_level: ClassLevel = "top") -> Source:
    """Open a source of any layout.

    Parameters
    ----------
    path : Path
    class_level : {"top", "leaves"}
        Of class folders with sub-folders: whether a sub-folder belongs to its class, or every
        folder that directly holds images is a class.

    Raises
    ------
    UserError
        If the path does not exist, no layout matches, or the source lacks something.
    """
    path = path.expanduser()
    if not path.exists():
        raise UserError(f"there is no folder or archive {path}")
    if not path.is_dir() and not path.is_file():  # a named pipe, a device
        raise UserError(f"{path} is neither a folder nor an archive")
    if path.is_dir() and not any(path.iterdir()):
        raise UserError(f"the folder {path} is empty")
    # Fingerprints contain paths; absolute() would keep `..`, so that they would differ.
    path = Path(os.path.abspath(path))  # noqa: PTH100
    for module in layouts():
        options = {"class_level": class_level} if is_fallback(module) else {}
        source: Source | None = module.open_source(path, **options)
        if source is None:
            continue
        if class_level != "top" and not options:
            raise UserError(
                f"class_level={class_level} is for class folders, but {path} has the layout "
                f"{source.layout}, which says itself what the classes are"
            )
        return source
    known = "".join(f"\n  {_layout_name(module)}" for module in layouts())
    raise UserError(f"{path} has no known layout; the known ones are:{known}")


def layouts() -> list[ModuleType]:
    """Return the modules of this folder, fallbacks last."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    public = sorted(name for name in names if not name.startswith("_"))
    modules = [import_module(f"{__name__}.{name}") for name in public]
    return sorted(modules, key=is_fallback)


def is_fallback(module: ModuleType) -> bool:
    return getattr(module, "FALLBACK", False)


def _layout_name(module: ModuleType) -> str:
    paragraph, _, _ = inspect.cleandoc(module.__doc__ or "").partition("\n\n")
    return paragraph.replace("\n", " ")


def check_label_count(path: Path, classes: int, images: int) -> None:
    """Raise UserError for numbers as labels that cannot be class indices.

    They would make more classes than there are images, as ids or measurements do.
    """
    if classes > images > 0:
        raise UserError(
            f"{path}: labels up to {classes - 1:,} would make {classes:,} classes of "
            f"{images:,} images; give class indices from 0, or class names"
        )


def part_of(text: str) -> str:
    """Return the part that a name mentions: train for `imagenet-train-000.tar`; all for none."""
    words = "".join(c if c.isalpha() else " " for c in text.lower()).split()
    return next((PARTS[word] for word in words if word in PARTS), UNSPLIT)
