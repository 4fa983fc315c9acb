"""The folders of a tree that hold images, with what they hold, as a tree of nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


@dataclass
class Folder:
    """A folder with images in it or below it.

    Attributes
    ----------
    path : str
        From the root, whose path is empty.
    images : int
        In the folder itself.
    children : dict of Folder
        By name. Every one holds images, in itself or below.
    """

    path: str
    images: int = 0
    children: dict[str, Folder] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def total(self) -> int:
        """The images in this folder and below."""
        return sum(folder.images for folder in self.walk())

    @property
    def is_flat(self) -> bool:
        return not self.children

    def walk(self) -> Iterator[Folder]:
        """Yield this folder and all below it, parents first."""
        pending = [self]
        while pending:
            folder = pending.pop()
            yield folder
            pending += reversed(folder.children.values())

    def contains(self, name: str) -> bool:
        """Return whether a file lies in this folder or below."""
        return not self.path or name.startswith(f"{self.path}/")

    def relative(self, names: Iterable[str]) -> list[str]:
        """Return those of `names` that lie in this folder or below, as seen from here."""
        start = len(self.path) + 1 if self.path else 0
        return [name[start:] for name in names if self.contains(name)]


def image_folders(names: Iterable[str]) -> Folder:
    """Return the root of the folders of these images; children are sorted by name."""
    counts = Counter(name.rpartition("/")[0] for name in names)
    root = Folder("")
    for path in sorted(counts, key=lambda path: path.split("/")):
        folder, parts = root, path.split("/") if path else []
        for depth, name in enumerate(parts, 1):
            folder = folder.children.setdefault(name, Folder("/".join(parts[:depth])))
        folder.images = counts[path]
    return root
