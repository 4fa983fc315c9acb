"""Names of files: which are images, which are what a system left there, and how one that is no text is shown."""

from __future__ import annotations

from pathlib import PurePosixPath

from harness.data.decode import IMAGE_SUFFIXES


def is_debris(name: str) -> bool:
    """Whether it is or lies in what a system left there (`__MACOSX`, `.ipynb_checkpoints`, `._1.jpg`), which shows no class."""
    left = ("__MACOSX", "Thumbs.db", "desktop.ini")
    return any(
        (part.startswith(".") and part not in (".", "..")) or part in left
        for part in name.split("/")
    )


def is_image(name: str) -> bool:
    return has_image_suffix(name) and not is_debris(name)


def has_image_suffix(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def printable(name: str) -> str:
    """Bytes that are no UTF-8 written out: the name can then be kept and shown."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")
