"""Class folders: `train/CLASS/FILE` and `test/CLASS/FILE` (or `val/`), or just `CLASS/FILE`; a directory or a tar of one.

A part may lie under other folders (`photos/train/cat/1.jpg`), and what lies deeper than the class folder belongs to it.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.errors import UserError

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
PARTS = {"train": "train", "test": "test", "val": "val", "valid": "val", "validation": "val"}
LAYOUT = "train/CLASS/IMAGE and test/CLASS/IMAGE (or val/), or CLASS/IMAGE"


@dataclass(frozen=True)
class SourceImage:
    """One image file of a source: `part` is train, test, val, or None where the source has no parts."""

    name: str
    part: str | None
    class_name: str


class ClassFolders:
    """The images below `path`. Raises UserError when it does not exist, cannot be read or holds no class folders."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise UserError(f"there is no folder or archive {path}")
        if path.is_file() and not _readable_tar(path):
            raise UserError(f"{path} is neither a folder nor a tar archive (.tar, .tar.gz, .tgz)")
        names = sorted(name for name, _ in self._files(read=False) if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES)
        self.images = {image.name: image for image in classify(names)}
        if not self.images:
            raise UserError(f"{path} holds no images in class folders; expected {LAYOUT} ({len(names)} image files seen)")

    def __iter__(self) -> Iterator[tuple[SourceImage, bytes]]:
        """Every image with its bytes, in the source's order."""
        for name, data in self._files(read=True):
            if name in self.images:
                yield self.images[name], data

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change when a file is added, removed, resized or rewritten: paths, sizes and times, no contents."""
        files = [self.path] if self.path.is_file() else [self.path / name for name in sorted(self.images)]
        lines = (f"{file} {stat.st_size} {stat.st_mtime_ns}\n" for file in files for stat in [file.stat()])
        return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]

    def _files(self, *, read: bool) -> Iterator[tuple[str, bytes]]:
        if self.path.is_dir():
            for file in sorted(self.path.rglob("*")):
                if file.is_file():
                    yield file.relative_to(self.path).as_posix(), file.read_bytes() if read else b""
            return
        member_name = "its start"
        try:
            with tarfile.open(self.path) as archive:
                for member in archive:
                    if member.isfile():
                        member_name = str(PurePosixPath(member.name))
                        content = archive.extractfile(member) if read else None
                        yield member_name, content.read() if content else b""
        except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
            if isinstance(error, OSError) and error.errno:
                raise
            raise UserError(f"{self.path} is damaged after {member_name}: {error}; copy or download it again") from error


def classify(names: list[str]) -> list[SourceImage]:
    """The images among `names` that lie in a class folder; folders that all names share and that name no part are passed over."""
    split = [PurePosixPath(name).parts for name in names]
    positions = [next((i for i, part in enumerate(parts[:-2]) if part.lower() in PARTS), None) for parts in split]
    if any(position is not None for position in positions):
        return [
            SourceImage(name, PARTS[parts[position].lower()], parts[position + 1])
            for name, parts, position in zip(names, split, positions, strict=True)
            if position is not None
        ]
    shared = 0
    while all(len(parts) > shared + 2 for parts in split) and len({parts[shared] for parts in split}) == 1:
        shared += 1
    return [SourceImage(name, None, parts[shared]) for name, parts in zip(names, split, strict=True) if len(parts) > shared + 1]


def _readable_tar(path: Path) -> bool:
    """Looks at the suffix too: a damaged tar is still a tar, and deserves the message that says so."""
    return path.name.endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")) or tarfile.is_tarfile(path)
