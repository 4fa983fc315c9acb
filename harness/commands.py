"""Every command line that a message suggests."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path


def as_flags(**given: Path | str | Sequence[str] | None) -> str:
    """` --NAME VALUE` for each value that was given, of a sequence for each in it: for commands that a message tells to type."""
    flags = []
    for name, value in given.items():
        values = [value] if isinstance(value, (str, Path)) else value or []
        flags += [
            f" --{name.replace('_', '-')} {shlex.quote(str(each))}" for each in values if each
        ]
    return "".join(flags)
