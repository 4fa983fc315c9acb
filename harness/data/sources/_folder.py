"""The files of a folder: each folder once, and no file whose reading could block or never end."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from harness.data.decode import Undecodable, check_size, is_system_file, printable
from harness.data.sources._archives import Note
from harness.data.undecodable import UNREADABLE

# The program's own trouble. Everything else that the system says of a file belongs to that file.
NOT_THE_FILE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)


class FolderWalk:
    """The files below a folder in a fixed order: (name, entry), with POSIX names.

    A link to a folder outside is followed, once per folder. A link to a folder that is listed
    anyway, or to one around it, is passed over. A folder that cannot be listed is passed over, too.

    Parameters
    ----------
    root : Path
        An absolute path.
    note : callable
        Receives, when all files are listed, a sentence per kind of what was passed over.
    """

    def __init__(self, root: Path, note: Note) -> None:
        self._root, self._note = root, note
        self._real_root = os.path.realpath(root)
        self._followed: set[str] = set()  # real paths of folders outside that links lead to
        self._links: list[str] = []
        self._unlisted: list[str] = []

    def __iter__(self) -> Iterator[tuple[str, os.DirEntry[str]]]:
        pending = [("", str(self._root), self._real_root)]
        while pending:
            prefix, path, real = pending.pop()
            try:
                with os.scandir(path) as entries:
                    ordered = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                self._report_unlisted(prefix.rstrip("/"), error)
                continue
            folders = []
            for entry in ordered:
                name = f"{prefix}{entry.name}"
                if not _is_folder(entry):
                    yield printable(name), entry
                elif not entry.is_symlink():
                    inner = f"{real.rstrip('/')}/{entry.name}"
                    if inner not in self._followed:
                        folders.append((f"{name}/", entry.path, inner))
                elif target := self._target(name, entry):
                    folders.append((f"{name}/", entry.path, target))
            pending += reversed(folders)
        self._report()

    def _target(self, name: str, link: os.DirEntry[str]) -> str | None:
        """Return the real path of the folder that a link leads to, or None to pass it over."""
        target = os.path.realpath(link.path)
        covered = (self._real_root, *self._followed)
        if any(_contains(folder, target) for folder in covered) or _contains(
            target, self._real_root
        ):
            self._links.append(f"{printable(name)} -> {printable(str(Path(link.path).readlink()))}")
            return None
        self._followed.add(target)
        return target

    def _report_unlisted(self, name: str, error: OSError) -> None:
        if error.errno in NOT_THE_FILE or not name:
            raise error
        if not is_system_file(name):
            self._unlisted.append(f"{printable(name)}/ ({error.strerror})")

    def _report(self) -> None:
        if self._links:
            self._note(
                f"{len(self._links):,} links to folders that are listed already, or that contain "
                f"the link, are passed over: {_sample(self._links)}"
            )
        if self._unlisted:
            self._note(
                f"{len(self._unlisted):,} folders cannot be listed, and what they hold is "
                f"missing: {_sample(self._unlisted)}"
            )


def _sample(texts: list[str], limit: int = 3) -> str:
    more = f" and {len(texts) - limit:,} more" if len(texts) > limit else ""
    return ", ".join(texts[:limit]) + more


def _contains(folder: str, other: str) -> bool:
    return other == folder or other.startswith(f"{folder.rstrip('/')}/")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def read_file(path: str) -> bytes:
    """Return the content of a file.

    Raises
    ------
    Undecodable
        If it is not a plain file of a sensible size that can be read.
    """
    try:
        with open(path, "rb", buffering=0, opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Undecodable(_not_plain(status.st_mode))
            check_size(status.st_size)
            return file.read()
    except FileNotFoundError as error:
        raise Undecodable("it is a broken link") from error
    except OSError as error:
        if error.errno in NOT_THE_FILE:
            raise
        raise Undecodable(_explain(path, error)) from error


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file; a named pipe without a writer would block otherwise."""
    return os.open(path, flags | os.O_NONBLOCK)


def _explain(path: str, error: OSError) -> str:
    """Return why a file cannot be opened: its kind if it is no plain file."""
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return f"{UNREADABLE}: {error.strerror}"
    return f"{UNREADABLE}: {error.strerror}" if stat.S_ISREG(mode) else _not_plain(mode)


def _not_plain(mode: int) -> str:
    return next(
        (f"it is {kind}, not a file" for test, kind in KINDS if test(mode)), "it is no file"
    )
