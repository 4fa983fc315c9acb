"""Large tars of photographs made from a few: input of the benchmarks of prepare and loading."""

from __future__ import annotations

import io
import itertools
import sys
import tarfile
from pathlib import Path

NAME = "repeated"  # of the prepared dataset


def write_repeated_tar(source: Path, target: Path, count: int) -> Path:
    """Write `count` JPEGs in class folders, those of the tar `source` over and over.

    Each gets a comment of its own, so that no two have the same bytes; every 20th is for `val`.
    """
    with tarfile.open(source) as archive:
        photographs = [
            (Path(member.name), content.read())
            for member in archive
            if member.isfile() and (content := archive.extractfile(member))
        ]
    with tarfile.open(target, "w") as archive:
        for i, (path, data) in zip(range(count), itertools.cycle(photographs), strict=False):
            data = with_comment(data, f"{i:010}".encode())
            split = "val" if i % 20 == 0 else "train"
            member = tarfile.TarInfo(f"{split}/{path.name[:9]}/{i}{path.suffix}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return target


def with_comment(jpeg: bytes, comment: bytes) -> bytes:
    """Return the JPEG file with a comment segment after its start marker."""
    length = (len(comment) + 2).to_bytes(2, "big")
    return jpeg[:2] + b"\xff\xfe" + length + comment + jpeg[2:]


def prepare_command(source: Path, data_root: Path) -> list[str]:
    """Return the command line that prepares such a tar."""
    harness = [sys.executable, "-m", "harness", "prepare", str(source)]
    return [*harness, "--name", NAME, "--data-root", str(data_root)]
