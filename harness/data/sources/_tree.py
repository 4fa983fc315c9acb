"""The files of a folder, a tar or a zip: listed once, then read one after the other without unpacking anything."""

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

from harness.data.decode import Undecodable, is_debris, printable
from harness.errors import UserError

ENCRYPTED = 1  # the bit of a zip member's flags
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
File = tuple[str, Callable[[], bytes]]


class Tree:
    """The files below `path`, by their POSIX paths in it, in a fixed order.

    Raises UserError when `path` is neither a folder nor an archive, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_file() and not is_archive(path):
            raise UserError(
                f"{path} is neither a folder nor an archive ({', '.join(TAR_SUFFIXES)}, .zip)"
            )
        self._stats: list[
            str
        ] = []  # of a folder's files, for the fingerprint: taken while listing, since that costs nothing more
        self.names = [name for name, _ in self]

    def __iter__(self) -> Iterator[File]:
        """(name, read) of each file; `read` works until the next one is asked for. It raises Undecodable for a link that leads nowhere,
        and for a member of an archive whose path or link leads out of it: nothing outside the archive is ever opened.
        """
        if self.path.is_dir():
            yield from self._folder()
        elif zipfile.is_zipfile(self.path) and not tarfile.is_tarfile(
            self.path
        ):  # whose last member is a zip, looks like one
            yield from self._zip()
        else:
            yield from tar_files(self.path)

    def read(self, name: str) -> bytes:
        """One file, found by its name."""
        for other, read in self:
            if other == name:
                return read()
        raise FileNotFoundError(name)

    @cached_property
    def fingerprint(self) -> str:
        lines = sorted(set(self._stats)) if self.path.is_dir() else [stat_line(self.path)]
        self._stats.clear()  # 150 bytes a file
        return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:16]

    def _folder(self) -> Iterator[File]:
        listing = not hasattr(self, "names")
        for folder, folders, files in os.walk(self.path, followlinks=True, onerror=_reraise):
            folders.sort()
            for file in sorted(files):
                path = Path(folder, file)
                name = printable(path.relative_to(self.path).as_posix())
                if listing and not is_debris(name):  # which comes and goes without anybody's doing
                    self._stats.append(stat_line(path))
                yield name, _file_reader(path)

    def _zip(self) -> Iterator[File]:
        name = "its start"
        try:
            with zipfile.ZipFile(self.path) as archive:
                for member in archive.infolist():
                    if not member.is_dir():
                        name = str(
                            PurePosixPath(member.filename.replace("\\", "/"))
                        )  # as some programs of Windows write
                        yield (
                            name,
                            _refuse("its path leads")
                            if _leads_out(name)
                            else partial(_unzip, archive, member),
                        )
        except (zipfile.BadZipFile, zlib.error) as error:
            raise damaged(self.path, error, name) from error


def tar_files(path: Path, open_file: Callable[[], IO[bytes]] | None = None) -> Iterator[File]:
    """(name, read) of the files and links of the tar at `path`, or of the one that `open_file` opens: `path` is then how to call it."""
    name, open_file = "its start", open_file or (lambda: path.open("rb"))
    try:
        with open_file() as file, tarfile.open(fileobj=file) as archive:
            while member := archive.next():
                archive.members.clear()  # type: ignore[attr-defined]  # else the headers of a million members stay in memory
                if member.isfile() or member.issym() or member.islnk():
                    name = printable(str(PurePosixPath(member.name)))
                    yield name, _tar_reader(archive, member, open_file)
            while archive.fileobj and archive.fileobj.read(2**20):
                pass  # to the end of what is packed, where its checksum is compared
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise damaged(path, error, name) from error


def _unzip(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    path = Path(archive.filename or "the zip")
    if member.flag_bits & ENCRYPTED:
        raise UserError(f"{path}: {member.filename} is encrypted; pack it again without a password")
    try:
        return archive.read(member)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise damaged(path, error, member.filename) from error
    except NotImplementedError as error:  # such as Deflate64, which Windows takes for large files
        raise UserError(
            f"{path}: {member.filename} cannot be unpacked here ({error}); pack it again, plainly"
        ) from error


def damaged(path: Path, error: Exception, after: str = "") -> UserError:
    """The first line of what was wrong: tarfile goes on with one for each way of packing that it tried."""
    why = str(error).partition("\n")[0].rstrip(":") or type(error).__name__
    return UserError(
        f"{path} is damaged{f' after {after}' if after else ''}: {why}; copy or download it again"
    )


def is_archive(path: Path) -> bool:
    """Looks at the suffix too: a damaged archive is still one, and deserves the message that says so."""
    return path.is_file() and (
        path.name.endswith((*TAR_SUFFIXES, ".zip"))
        or zipfile.is_zipfile(path)
        or tarfile.is_tarfile(path)
    )


def files_near(path: Path, suffix: str) -> list[Path]:
    """Files of this suffix in the folder `path` and in those right below it: no deeper, since a set of class folders has a million files."""
    found = [*path.glob(f"*{suffix}"), *path.glob(f"*/*{suffix}")]
    return sorted(file for file in found if not is_debris(file.relative_to(path).as_posix()))


def stat_line(path: Path) -> str:
    try:
        stat = path.stat()
    except FileNotFoundError:  # a link to nothing
        return f"{path} -"
    return f"{path} {stat.st_size} {stat.st_mtime_ns}"


def _reraise(error: OSError) -> NoReturn:
    """A folder that cannot be listed would else be one that is not there, and with it a class."""
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
        return lambda: _content(archive, member)
    target = posixpath.normpath(
        posixpath.join(posixpath.dirname(member.name), member.linkname)
        if member.issym()
        else member.linkname
    )
    if target.startswith(("..", "/")):
        return _refuse(f"it is a link to {member.linkname}, which leads")

    def follow() -> (
        bytes
    ):  # in an archive of its own, since looking a name up moves the one that is being listed
        with open_file() as file, tarfile.open(fileobj=file) as other:
            for candidate in other:
                if posixpath.normpath(candidate.name) == target and candidate.isfile():
                    return _content(other, candidate)
        raise Undecodable(f"it is a link to {member.linkname}, which is not in the archive")

    return follow


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = archive.extractfile(member)
    return content.read() if content else b""


def _refuse(what: str) -> Callable[[], bytes]:
    def read() -> bytes:
        raise Undecodable(f"{what} out of the archive")

    return read


def _file_reader(path: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            raise Undecodable("it is a link to nothing") from error

    return read
