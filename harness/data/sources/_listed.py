"""A source of a tree of files, once the part and class of each are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.data.sources import SourceImage
from harness.data.sources._tree import Tree


class ListedImages:
    """Those files of `tree` that `images` names: name -> (part, class name). Classes are `class_names`, else all that occur, sorted."""

    def __init__(
        self,
        tree: Tree,
        images: Mapping[str, tuple[str, str]],
        *,
        layout: str,
        class_names: Sequence[str] | None = None,
        dataset_notes: Sequence[str] = (),
    ) -> None:
        self.path: Path = tree.path
        self.layout = layout
        self.fingerprint = tree.fingerprint
        self.class_names = tuple(
            sorted({name for _, name in images.values()}) if class_names is None else class_names
        )
        self.dataset_notes = tuple(dataset_notes)
        self._tree, self._images = tree, images

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[SourceImage]:
        label_of = {name: label for label, name in enumerate(self.class_names)}
        for name, read in self._tree:
            if name in self._images:
                part, class_name = self._images[name]
                yield SourceImage(part, name, label_of[class_name], read)
