"""Class names as people read them: which are one name, and which only look like one."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

# Cyrillic and Greek letters with the shape of a Latin one
_SHAPES = str.maketrans(
    "аеорсухіјѕАВЕКМНОРСТХΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "aeopcyxijsABEKMHOPCTXABEZHIKMNOPTYXo"
)


def normalize(name: str) -> str:
    """Return a name in Unicode's normal form C, in which `é` is one character on every system."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def appearance(name: str) -> str:
    """Return what a reader sees of a name: without case, blanks and invisible characters."""
    compatible = unicodedata.normalize("NFKC", name).translate(_SHAPES).casefold()
    return "".join(
        c for c in compatible if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf")
    )


def distinguish(name: str, other: str) -> tuple[str, str]:
    """Return two names quoted for a message, with escapes where they would look the same."""
    if appearance(name) == appearance(other) and name.casefold() != other.casefold():
        return ascii(name), ascii(other)
    return repr(name), repr(other)


def look_alike_notes(names: Iterable[str]) -> list[str]:
    """Return a note on classes whose names a reader could take for one."""
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        groups.setdefault(appearance(name), []).append(name)
    alike = [group[:2] for group in groups.values() if len(group) > 1]
    if not alike:
        return []
    pairs = " and ".join(", ".join(distinguish(*pair)) for pair in alike[:2])
    return [
        f"{len(alike):,} pairs of classes differ in case, blanks or look-alike characters only, "
        f"and are different classes: {pairs}; rename a folder if they are the same"
    ]
