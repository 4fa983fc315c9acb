"""The files of a folder, a tar or a zip: listed once, then read in order without unpacking."""

from __future__ import annotations

import hashlib
import lzma
import os
import posixpath
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import IO, NoReturn

from harness.data.decode import Undecodable, is_system_file, printable
from harness.errors import UserError

ZIP_FLAG_ENCRYPTED = 1
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
NamedReader = tuple[str, Callable[[], bytes]]


class FileTree:
    """The files below `path`, in a fixed order.

    Iteration yields (name, read): `name` is the POSIX path within the tree, and `read` returns the
    content if it is called before the next file is requested. It raises Undecodable for a link
    that leads nowhere, and for a member of an archive whose path or link leads out of it: nothing
    outside the archive is ever opened.

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
        # of a folder's files, for the fingerprint; collecting them while listing is cheapest
        self._stat_lines: list[str] = []
        self.names = [name for name, _ in self]

    def __iter__(self) -> Iterator[NamedReader]:
        if self.path.is_dir():
            yield from self._folder_files()
        elif zipfile.is_zipfile(self.path) and not tarfile.is_tarfile(self.path):
            # a tar whose last member is a zip passes is_zipfile as well
            yield from self._zip_files()
        else:
            yield from tar_files(self.path)

    def read(self, name: str) -> bytes:
        """Return the content of one file. Raises FileNotFoundError."""
        for other, read in self:
            if other == name:
                return read()
        raise FileNotFoundError(name)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change if a file is added, removed, resized or rewritten."""
        lines = sorted(set(self._stat_lines)) if self.path.is_dir() else [stat_line(self.path)]
        self._stat_lines.clear()  # frees 150 bytes per file
        return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:16]

    def _folder_files(self) -> Iterator[NamedReader]:
        is_listing = not hasattr(self, "names")
        for folder, folders, files in os.walk(self.path, followlinks=True, onerror=_reraise):
            folders.sort()
            for file in sorted(files):
                path = Path(folder, file)
                name = printable(path.relative_to(self.path).as_posix())
                # system files appear without anybody's doing, so they do not count
                if is_listing and not is_system_file(name):
                    self._stat_lines.append(stat_line(path))
                yield name, _file_reader(path)

    def _zip_files(self) -> Iterator[NamedReader]:
        name = "its start"
        try:
            with zipfile.ZipFile(self.path) as archive:
                for member in archive.infolist():
                    if member.is_dir():
                        continue
                    # some Windows programs write backslashes
                    name = str(PurePosixPath(member.filename.replace("\\", "/")))
                    if _leads_out(name):
                        yield name, _refuse("its path leads")
                    else:
                        yield name, partial(_unzip, archive, member)
        except (zipfile.BadZipFile, zlib.error) as error:
            raise damaged_error(self.path, error, name) from error


def tar_files(
    path: Path, open_file: Callable[[], IO[bytes]] | None = None
) -> Iterator[NamedReader]:
    """Yield (name, read) of the files and links of a tar.

    Parameters
    ----------
    path : Path
        The tar.
    open_file : callable, optional
        Opens the tar if it is not a file itself; `path` is then only its name in messages.

    Raises
    ------
    UserError
        If the tar is damaged.
    """
    name, open_file = "its start", open_file or (lambda: path.open("rb"))
    try:
        with open_file() as file, tarfile.open(fileobj=file) as archive:
            while member := archive.next():
                # otherwise the headers of a million members stay in memory
                archive.members.clear()  # type: ignore[attr-defined]
                if member.isfile() or member.issym() or member.islnk():
                    name = printable(str(PurePosixPath(member.name)))
                    yield name, _tar_reader(archive, member, open_file)
            while archive.fileobj and archive.fileobj.read(2**20):
                pass  # to the end of the compressed stream, where its checksum is verified
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise damaged_error(path, error, name) from error


def _unzip(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    path = Path(archive.filename or "the zip")
    if member.flag_bits & ZIP_FLAG_ENCRYPTED:
        raise UserError(f"{path}: {member.filename} is encrypted; pack it again without a password")
    try:
        return archive.read(member)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise damaged_error(path, error, member.filename) from error
    except NotImplementedError as error:  # such as Deflate64, which Windows uses for large files
        raise UserError(
            f"{path}: {member.filename} cannot be unpacked ({error}); "
            "pack it again with the Deflate method"
        ) from error


def damaged_error(path: Path, error: Exception, last_name: str = "") -> UserError:
    """Return the error about a damaged archive; `last_name` is the last file read before.

    Only the first line of `error` is kept: tarfile adds one per compression that it tried.
    """
    reason = str(error).partition("\n")[0].rstrip(":") or type(error).__name__
    position = f" after {last_name}" if last_name else ""
    return UserError(f"{path} is damaged{position}: {reason}; copy or download it again")


def is_archive(path: Path) -> bool:
    """Return whether a file is a tar or a zip, by its suffix or its content.

    The suffix suffices, so that a damaged archive gets the message that says so.
    """
    return path.is_file() and (
        path.name.endswith((*TAR_SUFFIXES, ".zip"))
        or zipfile.is_zipfile(path)
        or tarfile.is_tarfile(path)
    )


def files_near(path: Path, suffix: str) -> list[Path]:
    """Return the files with a suffix in the folder `path` and in its direct subfolders.

    Deeper folders are not searched, since a set of class folders may have a million files.
    """
    files = [*path.glob(f"*{suffix}"), *path.glob(f"*/*{suffix}")]
    return sorted(file for file in files if not is_system_file(file.relative_to(path).as_posix()))


def stat_line(path: Path) -> str:
    """Return a line with a file's path, size and time."""
    try:
        stat = path.stat()
    except FileNotFoundError:  # a broken link
        return f"{path} -"
    return f"{path} {stat.st_size} {stat.st_mtime_ns}"


def _reraise(error: OSError) -> NoReturn:
    """Raise instead of skipping a folder that cannot be listed, and with it a class."""
    raise error


def _leads_out(name: str) -> bool:
    return (
        name.startswith("/")
        or posixpath.normpath(name).startswith("..")
        or ".." in PurePosixPath(name).parts
    )


def _tar_reader(
    archive: tarfile.TarFile, member: tarfile.TarInfo, open_file: Callable[[], IO[bytes]]
) -> Callable[[], bytes]:
    if _leads_out(member.name):
        return _refuse("its path leads")
    if member.isfile():
        return lambda: _read_member(archive, member)
    link = member.linkname
    if member.issym():  # relative to the link; the target of a hard link is relative to the root
        link = posixpath.join(posixpath.dirname(member.name), link)
    target = posixpath.normpath(link)
    if target.startswith(("..", "/")):
        return _refuse(f"it is a link to {member.linkname}, which leads")

    def follow() -> bytes:
        # opened again, because a search would move the archive that is being listed
        with open_file() as file, tarfile.open(fileobj=file) as other:
            for candidate in other:
                if posixpath.normpath(candidate.name) == target and candidate.isfile():
                    return _read_member(other, candidate)
        raise Undecodable(f"it is a link to {member.linkname}, which is not in the archive")

    return follow


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = archive.extractfile(member)
    return content.read() if content else b""


def _refuse(subject: str) -> Callable[[], bytes]:
    def read() -> bytes:
        raise Undecodable(f"{subject} out of the archive")

    return read


def _file_reader(path: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            raise Undecodable("it is a broken link") from error

    return read
