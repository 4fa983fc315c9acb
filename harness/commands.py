"""Every command line that a message suggests."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from harness.render.text import printable


def harness_command(*words: str, flags: str = "") -> str:
    """Return `harness WORD...`, quoted for a shell, followed by `flags` from `as_flags`."""
    return " ".join(map(quote, ["harness", *words])) + flags


def as_flags(**values: Path | str | Sequence[str] | None) -> str:
    """Return ` --NAME VALUE` for each value that is set, once per item of a sequence."""
    flags = []
    for name, value in values.items():
        items = [value] if isinstance(value, (str, Path)) else value or []
        flags += [f" --{name.replace('_', '-')} {quote(str(item))}" for item in items if item]
    return "".join(flags)


def quote(word: str) -> str:
    """Return a word quoted for a shell, with what is not seen in it as escapes of bash and zsh."""
    if word.isprintable():
        return shlex.quote(word)
    escaped = printable(word.replace("\\", r"\\")).replace("'", r"\'")
    return f"$'{escaped}'"
