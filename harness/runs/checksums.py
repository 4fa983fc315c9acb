"""The checksums of a record, in the form that `sha256sum -c` reads.

They show that a file was damaged or edited after the run ended. They are no signature: whoever
writes a record anew can write its checksums anew.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from harness.files import MAX_JSON_BYTES, file_digest, require_plain_file, write_atomic

CHECKSUMS = "SHA256SUMS"


def write_checksums(folder: Path, names: Iterable[str]) -> None:
    """Write the SHA-256 of those of these files that are in the folder."""
    lines = [
        f"{file_digest(folder / name)}  {name}\n" for name in names if (folder / name).is_file()
    ]
    write_atomic(folder / CHECKSUMS, lambda file: file.write("".join(lines).encode()))


def read_checksums(folder: Path) -> dict[str, str] | None:
    """Return the SHA-256 of each file by name; None for a record that predates them.

    Raises
    ------
    OSError
        If they cannot be read.
    ValueError
        If a line is not one of `sha256sum`.
    """
    path = folder / CHECKSUMS
    if not os.path.lexists(path):
        return None
    require_plain_file(path)
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ValueError(f"it has {path.stat().st_size:,} bytes")
    checksums = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        match = re.fullmatch(r"([0-9a-f]{64})  ([\w.]+)", line)
        if match is None or match[2] in checksums:
            raise ValueError(f"the line {line[:80]!r} is not SHA256  FILE, or a file stands twice")
        checksums[match[2]] = match[1]
    return checksums
