"""The members of a tar or a zip, read in order without unpacking.

Nothing outside the archive is ever opened, no member is read that states an absurd size, and
whatever a damaged archive makes its parser raise becomes one sentence.
"""

from __future__ import annotations

import posixpath
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Self

from harness.data.decode import Undecodable, check_size, printable
from harness.errors import UserError
from harness.render import text

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
BOMB_BYTES, BOMB_RATIO = 64_000_000, 100  # a zip member that unpacks to more is taken for a bomb
MAX_TRAILING_BYTES = 10**9  # after the last member of a tar
ZIP_FLAG_ENCRYPTED = 1
ZIP_FLAG_UTF8 = 0x800
ZIP_EXTRA_UNICODE_PATH = 0x7075
KANA = re.compile(r"[\u3041-\u30ff]")
JAPANESE = re.compile(r"[\x20-\x7e\u3000-\u30ff\u4e00-\u9fff\uff01-\uff5e]*")
# typeshed does not list these classes of tarfile
DAMAGED_HEADER: tuple[type[Exception], ...] = (
    tarfile.InvalidHeaderError,  # type: ignore[attr-defined]
    tarfile.TruncatedHeaderError,  # type: ignore[attr-defined]
)
NamedReader = tuple[str, Callable[[], bytes]]
Note = Callable[[str], object]


def _drop(note: str) -> None:
    """Ignore a note."""


def is_archive(path: Path) -> bool:
    """Return whether a file is a tar or a zip, by its suffix or its content.

    The suffix suffices, so that a damaged archive gets the message that says so.
    """
    return path.is_file() and (
        path.name.endswith((*TAR_SUFFIXES, ".zip")) or zipfile.is_zipfile(path) or is_tar(path)
    )


def is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except Exception:  # the parser of a damaged header raises exceptions of many types
        return False


def tar_files(
    path: Path, open_file: Callable[[], IO[bytes]] | None = None, *, note: Note = _drop
) -> Iterator[NamedReader]:
    """Yield (name, read) of the files and links of a tar.

    Parameters
    ----------
    path : Path
        The tar.
    open_file : callable, optional
        Opens the tar if it is not a file itself; `path` is then only its name in messages.
    note : callable, optional
        Receives a sentence about what the tar holds beside its members.

    Raises
    ------
    UserError
        If the tar is damaged.
    """
    name, open_file = "its start", open_file or (lambda: path.open("rb"))
    try:
        with open_file() as file, open_tar(file) as archive:
            while member := archive.next():
                # otherwise the headers of a million members stay in memory
                archive.members.clear()  # type: ignore[attr-defined]
                if not member.isdir():
                    name = printable(str(PurePosixPath(member.name)))
                    yield name, _tar_reader(path, archive, member, open_file)
            _check_end(path, archive, note)
    except Exception as error:
        _reraise_unless_damaged(error)
        raise damaged_error(path, error, name) from error


class _StrictTarInfo(tarfile.TarInfo):
    """A header; one that is damaged raises, where tarfile would take it for the end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except DAMAGED_HEADER as error:
            raise tarfile.ReadError(str(error)) from error


def open_tar(file: IO[bytes]) -> tarfile.TarFile:
    """Open a tar of any compression."""
    return tarfile.open(fileobj=file, tarinfo=_StrictTarInfo)


def _check_end(path: Path, archive: tarfile.TarFile, note: Note) -> None:
    """Read to the end of the compressed stream, where its checksum is verified."""
    trailing = 0
    if archive.fileobj and archive.fileobj.tell() == archive.offset:
        note(f"{path.name} has no end mark, so that files may be missing; compare its size")
    while archive.fileobj and (block := archive.fileobj.read(2**20)):
        trailing += len(block)
        if block.strip(b"\0"):
            note(
                f"{path.name} continues after its end mark, as when tars are joined by cat: "
                "what follows is not read"
            )
        if trailing > MAX_TRAILING_BYTES:
            raise tarfile.ReadError(f"{text.size(trailing)} or more follow the last file")


def _tar_reader(
    path: Path,
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    open_file: Callable[[], IO[bytes]],
) -> Callable[[], bytes]:
    if leads_out(member.name):
        return _refuse("its path leads out of the archive")
    if member.isfile():
        return lambda: _read_member(path, archive, member)
    if not (member.issym() or member.islnk()):
        return _refuse("it is a device or a named pipe, not a file")
    link = member.linkname
    if member.issym():  # relative to the link; the target of a hard link is relative to the root
        link = posixpath.join(posixpath.dirname(member.name), link)
    target = posixpath.normpath(link)
    if target.startswith(("..", "/")):
        return _refuse(f"it is a link to {member.linkname}, which leads out of the archive")

    def follow() -> bytes:
        # opened again, because a search would move the archive that is being listed
        with open_file() as file, open_tar(file) as other:
            for candidate in other:
                if posixpath.normpath(candidate.name) == target and candidate.isfile():
                    return _read_member(path, other, candidate)
        raise Undecodable(f"it is a link to {member.linkname}, which is not in the archive")

    return follow


def _read_member(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    check_size(member.size)
    try:
        content = archive.extractfile(member)
        return content.read() if content else b""
    except Exception as error:
        _reraise_unless_damaged(error)
        raise damaged_error(path, error, printable(member.name)) from error


def zip_files(path: Path, *, note: Note = _drop) -> Iterator[NamedReader]:
    """Yield (name, read) of the files of a zip.

    Parameters
    ----------
    path : Path
    note : callable, optional
        Receives a sentence if the names are in an encoding that the zip does not state.

    Raises
    ------
    UserError
        If the zip is damaged.
    """
    name = "its start"
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            names = _decode_names(members, note)
            # some Windows programs write backslashes; in old encodings they are part of a letter
            has_slashes = any("/" in name for name in names)
            for member, stored in zip(members, names, strict=True):
                name = str(PurePosixPath(stored if has_slashes else stored.replace("\\", "/")))
                if leads_out(name):
                    yield name, _refuse("its path leads out of the archive")
                else:
                    yield name, partial(_unzip, path, archive, member)
    except Exception as error:
        _reraise_unless_damaged(error)
        raise damaged_error(path, error, name) from error


def _decode_names(members: list[zipfile.ZipInfo], note: Note) -> list[str]:
    """Return the names of a zip's members as their author saw them, as far as can be known.

    A zip states UTF-8 or nothing. Programs that state nothing write UTF-8 nevertheless, or the
    code page of their Windows: Japanese is recognized by its kana. Else it is code page 437, the
    standard's choice, in which letters are wrong but different names stay different.
    """
    names = [member.orig_filename.partition("\0")[0] for member in members]
    unstated = []
    for position, member in enumerate(members):
        if member.flag_bits & ZIP_FLAG_UTF8 or names[position].isascii():
            continue
        stated = _unicode_path(member.extra)
        if stated:
            names[position] = stated
        else:
            unstated.append(position)
    if not unstated:
        return names
    stored = [names[position].encode("cp437") for position in unstated]
    for encoding in ("utf-8", "cp932", "cp437"):
        try:
            decoded = [name.decode(encoding) for name in stored]
        except UnicodeDecodeError:
            continue
        letters = "".join(decoded)
        if encoding != "cp932" or (KANA.search(letters) and JAPANESE.fullmatch(letters)):
            break
    for position, name in zip(unstated, decoded, strict=True):
        names[position] = name
    if encoding != "utf-8":
        note(
            f"{len(unstated):,} names in the zip are in an encoding that it does not state, and "
            f"are read as {encoding}, such as {decoded[0]}; pack it again with UTF-8 names if "
            "they are wrong"
        )
    return names


def _unicode_path(extra: bytes) -> str:
    """Return the UTF-8 name that Info-ZIP adds to one in another encoding, or an empty text."""
    while len(extra) >= 4:
        tag, size = int.from_bytes(extra[:2], "little"), int.from_bytes(extra[2:4], "little")
        if tag == ZIP_EXTRA_UNICODE_PATH:  # a version and the checksum of the other name before it
            return extra[9 : 4 + size].decode(errors="replace")
        extra = extra[4 + size :]
    return ""


def _unzip(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    if member.flag_bits & ZIP_FLAG_ENCRYPTED:
        raise UserError(f"{path}: {member.filename} is encrypted; pack it again without a password")
    check_size(member.file_size)
    if member.file_size > max(BOMB_BYTES, BOMB_RATIO * member.compress_size):
        raise Undecodable(
            f"decompression bomb: {text.size(member.compress_size)} in the zip would become "
            f"{text.size(member.file_size)}"
        )
    try:
        content = archive.read(member)
        if not stat.S_ISLNK(member.external_attr >> 16):
            return content
        return _follow_in_zip(archive, member, content)
    except NotImplementedError as error:  # such as Deflate64, which Windows uses for large files
        raise UserError(
            f"{path}: {member.filename} cannot be unpacked ({error}); "
            "pack it again with the Deflate method"
        ) from error
    except Exception as error:
        _reraise_unless_damaged(error)
        raise damaged_error(path, error, member.filename) from error


def _follow_in_zip(archive: zipfile.ZipFile, link: zipfile.ZipInfo, target: bytes) -> bytes:
    """Return the file of the zip that a link leads to; the link's content is the target's path."""
    path = printable(target.decode("utf-8", "surrogateescape"))
    try:
        member = archive.getinfo(
            posixpath.normpath(posixpath.join(posixpath.dirname(link.filename), path))
        )
    except KeyError as error:
        raise Undecodable(f"it is a link to {path[:100]}, which is not in the archive") from error
    if stat.S_ISLNK(member.external_attr >> 16):
        raise Undecodable(f"it is a link to {path}, which is a link itself")
    check_size(member.file_size)
    return archive.read(member)


def damaged_error(path: Path, error: Exception, last_name: str = "") -> UserError:
    """Return the error about a damaged archive; `last_name` is the last file read before.

    Only the first line of `error` is kept: tarfile adds one per compression that it tried.
    """
    reason = str(error).partition("\n")[0].rstrip(":") or type(error).__name__
    position = f" after {last_name}" if last_name else ""
    return UserError(f"{path} is damaged{position}: {reason}; copy or download it again")


def _reraise_unless_damaged(error: Exception) -> None:
    """Raise errors that are not about the archive's content: ours, and those of the system."""
    if isinstance(error, UserError | Undecodable) or (
        isinstance(error, OSError) and error.errno and not _is_about_content(error)
    ):
        raise error


def _is_about_content(error: OSError) -> bool:
    """Return whether an OSError comes from an offset that a damaged archive states."""
    return error.filename is None and error.strerror == "Invalid argument"


def leads_out(name: str) -> bool:
    return (
        name.startswith("/")
        or posixpath.normpath(name).startswith("..")
        or ".." in PurePosixPath(name).parts
    )


def _refuse(reason: str) -> Callable[[], bytes]:
    def read() -> bytes:
        raise Undecodable(reason)

    return read
