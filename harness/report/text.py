"""Plain text: quantities and tables."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path


def size(count: float) -> str:
    """Bytes, in powers of ten."""
    return (
        f"{count / 1e9:.1f} GB"
        if count >= 1e9
        else f"{count / 1e6:.1f} MB"
        if count >= 1e6
        else f"{count / 1e3:.1f} kB"
    )


def as_flags(**given: Path | str | Sequence[str] | None) -> str:
    """` --NAME VALUE` for each value that was given, of a sequence for each in it: for commands that a message tells to type."""
    flags = []
    for name, value in given.items():
        values = [value] if isinstance(value, (str, Path)) else value or []
        flags += [
            f" --{name.replace('_', '-')} {shlex.quote(str(each))}" for each in values if each
        ]
    return "".join(flags)


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Aligned columns; the first `left` to the left, the others to the right."""
    table = [list(head), *map(list, rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        return "  ".join(
            c.ljust(w) if i < left else c.rjust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()

    return "\n".join(
        [line(table[0]), "  ".join("-" * width for width in widths), *map(line, table[1:])]
    )
