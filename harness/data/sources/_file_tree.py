"""The files of a folder, a tar or a zip: listed once, then read in order without unpacking."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from pathlib import Path

from harness.data.decode import Undecodable, is_system_file
from harness.data.sources._archives import (
    TAR_SUFFIXES,
    NamedReader,
    is_archive,
    is_tar,
    tar_files,
    zip_files,
)
from harness.data.sources._folder import FolderWalk, read_file
from harness.errors import UserError


class FileTree:
    """The files below `path`, in a fixed order.

    Iteration yields (name, read): `name` is the POSIX path within the tree, and `read` returns the
    content if it is called before the next file is requested. It raises Undecodable for what is
    not a plain file of a sensible size, and for a member of an archive whose path or link leads
    out of it: nothing outside the archive is ever opened.

    Attributes
    ----------
    names : list of str
    notes : list of str
        What a user should know about the listing: links that were passed over, and the like.

    Raises
    ------
    UserError
        If `path` is neither a folder nor an archive, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_file() and not is_archive(path):
            raise UserError(
                f"{path} is neither a folder nor an archive ({', '.join(TAR_SUFFIXES)}, .zip)"
            )
        self.notes: list[str] = []
        self._last: dict[str, int] = {}  # the position of names that an archive holds repeatedly
        # of a folder's files, for the fingerprint; collecting them while listing is cheapest
        self._stat_lines: list[str] = []
        self.names = self._list()

    def __iter__(self) -> Iterator[NamedReader]:
        for position, (name, read) in enumerate(self._files()):
            if self._last.get(name, position) == position:
                yield name, read

    def read_texts(self, names: Iterable[str]) -> dict[str, str]:
        """Return the contents of some text files, by name.

        Raises
        ------
        UserError
            If one cannot be read or is not UTF-8.
        """
        wanted = set(names)
        if self.path.is_dir() and all((self.path / name).exists() for name in wanted):
            paths = {name: str(self.path / name) for name in wanted}
            return {name: self._decode(name, partial(read_file, paths[name])) for name in wanted}
        return {name: self._decode(name, read) for name, read in self if name in wanted}

    def _decode(self, name: str, read: Callable[[], bytes]) -> str:
        try:
            return read().decode("utf-8-sig")
        except Undecodable as error:
            raise UserError(f"{name} in {self.path} cannot be read: {error}") from error
        except UnicodeDecodeError as error:
            raise UserError(
                f"{name} in {self.path} is not UTF-8 text (byte {error.start:,}: {error.reason}); "
                "save it again as UTF-8"
            ) from error

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change if a file is added, removed, resized or rewritten."""
        lines = sorted(set(self._stat_lines)) if self.path.is_dir() else [stat_line(self.path)]
        self._stat_lines.clear()  # frees 150 bytes per file
        return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:16]

    def _list(self) -> list[str]:
        names = [name for name, _ in self._files()]
        if len(set(names)) == len(names):
            return names
        positions = {name: position for position, name in enumerate(names)}
        repeats = len(names) - len(positions)
        self._last = positions
        repeated = next(name for i, name in enumerate(names) if positions[name] != i)
        self._note(
            f"{repeats:,} files are in the archive under a name that comes again, such as "
            f"{repeated}: the last of each name is read, as when it is unpacked"
        )
        return [name for i, name in enumerate(names) if positions[name] == i]

    def _files(self) -> Iterator[NamedReader]:
        if self.path.is_dir():
            yield from self._folder_files()
        elif zipfile.is_zipfile(self.path) and not is_tar(self.path):
            # a tar whose last member is a zip passes is_zipfile as well
            yield from zip_files(self.path, note=self._note)
        else:
            yield from tar_files(self.path, note=self._note)

    def _note(self, text: str) -> None:
        if text not in self.notes:  # the same on every pass
            self.notes.append(text)

    def _folder_files(self) -> Iterator[NamedReader]:
        is_listing = not hasattr(self, "names")
        for name, entry in FolderWalk(self.path, self._note):
            # system files appear without anybody's doing, so they do not count
            if is_listing and not is_system_file(name):
                self._stat_lines.append(_stat_line(entry.path, entry))
            yield name, partial(read_file, entry.path)


def files_near(path: Path, suffix: str) -> list[Path]:
    """Return the files with a suffix in the folder `path` and in its direct subfolders.

    Deeper folders are not searched, since a set of class folders may have a million files.
    """
    found = [*path.glob(f"*{suffix}"), *path.glob(f"*/*{suffix}")]
    return sorted(
        file
        for file in found
        if not is_system_file(file.relative_to(path).as_posix()) and file.is_file()
    )


def part_files(files: Iterable[Path], part_of_file: Callable[[Path], str]) -> dict[str, str]:
    """Return, by part, the name of its first file and how many more there are, for messages."""
    names: dict[str, list[str]] = {}
    for file in files:
        names.setdefault(part_of_file(file), []).append(file.name)
    return {
        part: first + (f" and {len(more)} more" if more else "")
        for part, (first, *more) in names.items()
    }


def stat_line(path: Path) -> str:
    """Return a line with a file's path, size and time."""
    return _stat_line(str(path), path)


def _stat_line(path: str, file: Path | os.DirEntry[str]) -> str:
    try:
        status = file.stat()
    except OSError:  # a broken link
        return f"{path} -"
    return f"{path} {status.st_size} {status.st_mtime_ns}"
