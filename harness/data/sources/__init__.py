"""Where images come from: one file per layout, and the one protocol that they all keep.

A layout is a module of this folder with a docstring (its first line is how people call the layout) and one function,

    def open_source(path: Path) -> Source | None

which returns None where `path` does not look like this layout, and raises UserError, naming what is missing and where to get it,
where it does but cannot be used. A new layout is one new file. `FALLBACK = True` marks a layout that is tried after the others.
"""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Protocol

from harness.errors import UserError

PARTS = {
    "train": "train", "training": "train", "test": "test", "testing": "test", "val": "val", "valid": "val", "validation": "val",
}  # fmt: skip
WHOLE = "all"  # the part of images that no split is known of


@dataclass(frozen=True)
class SourceImage:
    """One image of a source.

    part   train, val, test, or all where the source has no parts
    name   for people to find it again; no two images of a source share one
    label  index into the source's class_names
    read   its encoded bytes; to be called before the next image is asked for, or not at all. Raises decode.Undecodable for what
           cannot be read as a file of the source, such as a link that leads out of an archive
    """

    part: str
    name: str
    label: int
    read: Callable[[], bytes]


class Source(Protocol):
    """Labeled images in some layout, always in the same order.

    path         what the user gave
    layout       one line for people
    class_names  in label order: sorted WordNet ids wherever the layout knows them, else sorted names
    fingerprint  hex digits that change when a file is added, removed, resized or rewritten: paths, sizes and times, no contents
    dataset_notes      what the user should know: parts that were passed over, and why
    """

    path: Path
    layout: str
    class_names: tuple[str, ...]
    fingerprint: str
    dataset_notes: tuple[str, ...]

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[SourceImage]: ...


def open_source(path: Path) -> Source:
    """The source at `path`, whatever its layout. Raises UserError where there is none, or where it lacks something."""
    path = path.expanduser()
    if not path.exists():
        raise UserError(f"there is no folder or archive {path}")
    if path.is_dir() and not any(path.iterdir()):
        raise UserError(f"the folder {path} is empty")
    path = Path(os.path.abspath(path))  # noqa: PTH100 (absolute() keeps ..): fingerprints hold paths, however they were written
    for module in layouts():
        source: Source | None = module.open_source(path)
        if source is not None:
            return source
    names = "".join(f"\n  {(module.__doc__ or '').splitlines()[0]}" for module in layouts())
    raise UserError(f"{path} holds no layout that is known; these are:{names}")


def layouts() -> list[ModuleType]:
    """The modules of this folder, fallbacks last."""
    names = [
        module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")
    ]
    modules = [import_module(f"{__name__}.{name}") for name in sorted(names)]
    return sorted(modules, key=lambda module: getattr(module, "FALLBACK", False))


def part_of(text: str) -> str:
    """train, val or test where a file name such as `imagenet-train-000.tar` or a folder name says so, else all."""
    words = "".join(c if c.isalpha() else " " for c in text.lower()).split()
    return next((PARTS[word] for word in words if word in PARTS), WHOLE)
