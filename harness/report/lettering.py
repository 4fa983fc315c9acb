"""Fonts for text in pictures, in any script, and what stands for characters that no font has.

matplotlib takes seconds to import and is imported when something is drawn.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

BASE = "DejaVu Sans"  # comes with matplotlib
SUBSTITUTE = "\u25a1"
LAST_RESORT = "Last Resort"  # draws boxes with the name of a script


@dataclass(frozen=True)
class Lettering:
    """The fonts that a picture takes.

    Parameters
    ----------
    families : sequence of str
        In order: a character is drawn in the first that has it.
    missing : frozenset of str
        Characters that none of them has.
    """

    families: Sequence[str]
    missing: frozenset[str]

    @classmethod
    def for_texts(cls, texts: Sequence[str]) -> Lettering:
        """Find the fonts of this machine that have the characters of these texts."""
        wanted = {character for character in "".join(texts) if not _is_invisible(character)}
        families = [BASE]
        wanted -= {character for character in wanted if ord(character) in _fonts()[BASE]}
        while wanted:
            counts = {name: _count(wanted, codes) for name, codes in _fonts().items()}
            best = max(counts, key=lambda name: counts[name], default=BASE)
            if not counts[best]:
                break
            families.append(best)
            wanted = {character for character in wanted if ord(character) not in _fonts()[best]}
        return cls(tuple(families), frozenset(wanted))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Make text that is created meanwhile use the fonts, and show `$` as it is."""
        import matplotlib

        with matplotlib.rc_context({"font.family": [*self.families], "text.parse_math": False}):
            yield

    def drawn(self, text: str) -> str:
        """Return the text without what is invisible, and with boxes for missing characters."""
        shown = (character for character in text if not _is_invisible(character))
        return "".join(SUBSTITUTE if c in self.missing else c for c in shown)

    def drawn_names(self, names: Sequence[str]) -> list[str]:
        """Return the names as they are drawn, those with missing characters numbered from 0."""
        drawn = map(self.drawn, names)
        return [
            f"#{number} {text}" if self.missing & set(name) else text
            for number, (name, text) in enumerate(zip(names, drawn, strict=True))
        ]

    @property
    def note(self) -> str:
        """What a picture says about missing characters; empty where there are none."""
        if not self.missing:
            return ""
        return f"{SUBSTITUTE}: a character that no font on this machine has; #: number of the class"


def _count(wanted: set[str], codes: frozenset[int]) -> int:
    return sum(ord(character) in codes for character in wanted)


def _is_invisible(character: str) -> bool:
    """Whether a character only says how its neighbors are joined or drawn."""
    is_selector = "\ufe00" <= character <= "\ufe0f"
    return is_selector or unicodedata.category(character) in ("Cf", "Cc")


@cache
def _fonts() -> dict[str, frozenset[int]]:
    """Return the characters of each scalable font that is installed, by family."""
    from matplotlib.font_manager import fontManager

    files: dict[str, str] = {}
    for entry in fontManager.ttflist:
        if not entry.name.startswith(LAST_RESORT):
            files.setdefault(entry.name, entry.fname)
    fonts = {name: _characters(file) for name, file in files.items()}
    return {name: codes for name, codes in fonts.items() if codes}


def _characters(file: str) -> frozenset[int]:
    """Return the characters of a font; none of one that cannot be drawn at every size."""
    from matplotlib.ft2font import FT2Font

    try:
        font: Any = FT2Font(file)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError):
        return frozenset()
