"""A source made of those files of a tree whose part and class are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.data.sources import SourceImage
from harness.data.sources._file_tree import FileTree


class ListedImages:
    """The files of `tree` that `images` lists.

    Parameters
    ----------
    tree : FileTree
    images : mapping of (part, class name)
        By the file's name in the tree.
    layout : str
        The name of the layout, for people.
    class_names : sequence of str, optional
        In label order. Default: all that occur, sorted.
    dataset_notes : sequence of str
    part_folders : mapping of str, optional
        By part, the folder that it was read from.
    reading : str
        Goes into the fingerprint: what the parts and classes depend on beside the files.
    """

    def __init__(
        self,
        tree: FileTree,
        images: Mapping[str, tuple[str, str]],
        *,
        layout: str,
        class_names: Sequence[str] | None = None,
        dataset_notes: Sequence[str] = (),
        part_folders: Mapping[str, str] | None = None,
        reading: str = "",
    ) -> None:
        self.path: Path = tree.path
        self.layout = layout
        self.fingerprint = tree.fingerprint + reading
        if class_names is None:
            class_names = sorted({class_name for _, class_name in images.values()})
        self.class_names = tuple(class_names)
        self.dataset_notes = (*dataset_notes, *tree.notes)
        self.part_folders: Mapping[str, str] = dict(part_folders or {})
        self._tree, self._images = tree, images

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[SourceImage]:
        label_of = {name: label for label, name in enumerate(self.class_names)}
        for name, read in self._tree:
            if name in self._images:
                part, class_name = self._images[name]
                yield SourceImage(part, name, label_of[class_name], read)
