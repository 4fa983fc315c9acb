"""The store: a source decoded once, as Arrow IPC files that any Arrow reader opens, memory-mapped when read.

A folder below `stores` in the data root: store.json says what it holds, PART-00000.arrow and so on hold up to 1,024 images each
(columns: see shards.py). `image` is raw pixels (height, width, 3) or JPEG: store.json's `codec` says which.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.shards import checksum, read_columns
from harness.data.split import Split
from harness.errors import UserError

BUILDING = ".building-"  # before the name of a store that is not finished


def store_folder(root: Path, name: str) -> Path:
    return root / "stores" / name


def store_names(root: Path) -> list[str]:
    return sorted(file.parent.name for file in (root / "stores").glob("[!.]*/store.json"))


def unfinished(root: Path) -> list[Path]:
    """Folders of preparations that were stopped, or go on."""
    return sorted(folder for folder in (root / "stores").glob(f"{BUILDING}*") if folder.is_dir())


def open_store(root: Path, name: str) -> Store:
    """Raises UserError when nothing of that name was prepared."""
    names = store_names(root)
    if name not in names:  # nor is a path to some other folder a name
        there = ", ".join(names) or "none"
        raise UserError(
            f"no prepared dataset is called {name!r} in {root}; there are: {there} (harness prepare SOURCE --name NAME makes one)"
        )
    return Store(store_folder(root, name))


class Store:
    """A prepared source in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts: dict[str, Any] = json.loads((folder / "store.json").read_text())

    @property
    def parts(self) -> list[str]:
        return list(self.facts["parts"])

    @property
    def undecodable(self) -> list[tuple[str, str, str]]:
        """(part, name, why), in every part."""
        return [
            (part, name, why)
            for part, facts in self.facts["parts"].items()
            for name, why in facts["undecodable"]
        ]

    @property
    def noted(self) -> list[tuple[str, str, str]]:
        """(part, name, what is unusual), in every part."""
        return [
            (part, name, what)
            for part, facts in self.facts["parts"].items()
            for name, what in facts["noted"]
        ]

    @property
    def bytes(self) -> int:
        return sum(file.stat().st_size for file in self.folder.iterdir())

    def split(self, part: str) -> Split:
        """The images of one part, memory-mapped; raw ones of one size are read into memory when the first of them is wanted.

        Images that could not be decoded have row -1; the train part is without them.
        Raises UserError when a file is missing or is no Arrow file.
        """
        from harness.data.store_images import LoadedImages, StoreImages

        files = self.facts["parts"][part]["files"]
        table = self._columns(files)
        heights, widths = (table[name].to_numpy() for name in ("height", "width"))
        raw = self.facts["codec"] == "raw"
        images = StoreImages(
            [self.folder / name for name in files],
            [f["rows"] for f in files.values()],
            heights,
            widths,
            raw=raw,
        )
        rows = np.where(heights > 0, np.arange(len(table)), -1)
        split = Split(
            keys=np.array(table["key"].to_pylist(), dtype="U24"),
            labels=table["label"].to_numpy(),
            class_names=self.facts["class_names"],
            images=LoadedImages(images) if images.image_size and raw else images,
            preparation=self.facts["preparation"],
            rows=rows,
            names=np.array(table["name"].to_pylist(), dtype=object),
        )
        return split.take(np.flatnonzero(rows >= 0)) if part == "train" else split

    def damaged(self) -> list[str]:
        """What `verify` finds wrong: files that are missing or changed, digests that the rows do not give."""
        wrong = []
        for part, facts in self.facts["parts"].items():
            for name, file in facts["files"].items():
                path = self.folder / name
                if not path.exists():
                    wrong.append(f"{name} is missing")
                elif checksum(path) != file["sha256"]:
                    wrong.append(f"{name} has changed since it was written")
            if not wrong and self.split(part).digest != facts["digest"]:
                wrong.append(
                    f"the digest of {part} is not that of its rows: store.json has changed"
                )
        return wrong

    def _columns(self, files: Iterable[str]) -> Any:
        """All columns but the images, as one table."""
        import pyarrow as pa

        try:
            return pa.concat_tables(
                [
                    read_columns(self.folder / name, ["key", "label", "name", "height", "width"])
                    for name in files
                ]
            )
        except (pa.ArrowInvalid, FileNotFoundError) as error:
            raise UserError(
                f"the store {self.folder.name} is damaged ({error}); see harness data verify {self.folder.name}, and prepare it again "
                f"after harness data rm {self.folder.name}"
            ) from error
