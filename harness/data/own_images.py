"""A user's own images, by path: found, read and decoded as those of a dataset are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from harness.data.decode import (
    Undecodable,
    decode_and_inspect,
    has_image_suffix,
    ignore_pillow_warnings,
    is_image,
    printable,
)
from harness.data.image_notes import Listed, conversion_notes, group_by_reason
from harness.data.sources._file_tree import FileTree, is_archive
from harness.data.sources._folder import read_file
from harness.errors import UserError

PATTERN_CHARACTERS = "*?["


class OwnImages:
    """The images in files, folders and archives. Iteration yields (path, image).

    An image that cannot be decoded is left out, and what its pixels were converted from is
    remembered: see `notes` and `raise_problems`, which count what was iterated over.

    Parameters
    ----------
    paths : sequence of Path
        Image files, or folders and archives, in which they are searched by suffix.

    Raises
    ------
    UserError
        If none of the paths holds an image.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._sources: list[Path | FileTree] = []
        self._problems: list[str] = []
        self._undecodable: list[Listed] = []
        self._unusual: list[Listed] = []
        for path in paths:
            self._add(path)
        if not self._sources:
            self.raise_problems()

    def __iter__(self) -> Iterator[tuple[Path, torch.Tensor]]:
        for path, data in self._files():
            name = printable(str(path))
            try:
                if isinstance(data, Undecodable):
                    raise data
                with ignore_pillow_warnings():
                    image, unusual = decode_and_inspect(data, path.name)
            except Undecodable as error:
                self._undecodable.append(("", name, str(error)))
                continue
            self._unusual += [("", name, description) for description in unusual]
            yield path, image

    @property
    def notes(self) -> list[str]:
        """What was converted, with counts."""
        return conversion_notes(self._unusual)

    def raise_problems(self) -> None:
        """Raise UserError if a path has no image, or an image could not be decoded."""
        undecodable = [
            f"{names} cannot be decoded: {reason}"
            for names, reason in group_by_reason(self._undecodable)
        ]
        problems = [*self._problems, *undecodable]
        if problems:
            raise UserError("; ".join(problems))

    def _add(self, path: Path) -> None:
        name = printable(str(path))
        if path.is_dir() or (not has_image_suffix(path.name) and is_archive(path)):
            tree = FileTree(path)
            if any(map(is_image, tree.names)):
                self._sources.append(tree)
            else:
                self._problems.append(f"{name} holds no images")
        elif path.is_file():
            self._sources.append(path)
        elif path.exists():
            self._problems.append(f"{name} is neither a file nor a folder")
        else:
            is_pattern = not set(name).isdisjoint(PATTERN_CHARACTERS)
            hint = ", and no file that fits this pattern" if is_pattern else ""
            self._problems.append(f"there is no file or folder {name}{hint}")

    def _files(self) -> Iterator[tuple[Path, bytes | Undecodable]]:
        for source in self._sources:
            if isinstance(source, Path):
                yield source, _read(source)
                continue
            for name, read in source:
                if is_image(name):
                    try:
                        yield source.path / name, read()
                    except Undecodable as error:
                        yield source.path / name, error


def _read(path: Path) -> bytes | Undecodable:
    try:
        return read_file(str(path))
    except Undecodable as error:
        return error
