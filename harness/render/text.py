"""Quantities as plain text: times, sizes, percentages, intervals and p-values."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

# Controls, formats such as those that turn the direction of writing, halves of surrogate pairs,
# and separators of lines and paragraphs.
UNPRINTABLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
JOINERS = "\u200c\u200d"  # part of how emoji and several scripts are spelled


def printable(text: str) -> str:
    """Return text in which characters that are not seen, or act on a terminal, are escaped.

    Escapes are Python's, such as `\\x1b` and `\\u202e`, and `\\xff` for a byte of a file name that
    is not UTF-8. A joiner between letters that are not ASCII stays, as in emoji.
    """
    if text.isprintable():
        return text
    return "".join(
        character if _is_shown(text, i) else _escape(character) for i, character in enumerate(text)
    )


def printable_lines(text: str) -> str:
    """Return `printable` text with its line breaks."""
    return "\n".join(printable(line) for line in text.split("\n"))


def _is_shown(text: str, i: int) -> bool:
    if text[i] in JOINERS:
        return 0 < i < len(text) - 1 and not (text[i - 1] + text[i + 1]).isascii()
    return unicodedata.category(text[i]) not in UNPRINTABLE


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python keeps a byte that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape", errors="backslashreplace").decode()


def brief(text: str, length: int = 200) -> str:
    """Return text for a message, what is too long for one cut off."""
    return text if len(text) <= length else f"{text[:length]}... ({len(text):,} characters)"


def size(count: float) -> str:
    """Return a number of bytes in powers of ten, such as `4.1 MB`."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"


def duration(seconds: float) -> str:
    """Return a time such as `4.2 s`, `3 min 20 s` or `2 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


def percent(value: float | None, digits: int = 2) -> str:
    """Return `12.35 %`; `-` for None."""
    return "-" if value is None else f"{value:.{digits}f} %"


def interval(low: float | None, high: float | None) -> str:
    """Return `[10.20, 14.80]`; empty where an end is None."""
    return "" if low is None or high is None else f"[{low:.2f}, {high:.2f}]"


def copies(in_train: int, repeats: int) -> str:
    """Return how many test images are copies of images in train or of other test images."""
    also = "1 test image is" if in_train == 1 else f"{in_train:,} test images are"
    repeat = "1 repeats" if repeats == 1 else f"{repeats:,} repeat"
    return f"{also} also in train or tune, {repeat} another test image"


def p_value(p: float | None) -> str:
    """Return a p-value with three decimals, or as a power of ten below 0.001; `-` for None."""
    if p is None:
        return "-"
    if p >= 0.001:
        return f"{p:.3f}"
    return f"{p:.0e}" if p > 1e-99 else "< 1e-99"


def age(finished: str) -> str:
    """Return how long ago an ISO 8601 time was, such as `3 min 20 s` or `12 days`."""
    passed = datetime.now(UTC) - datetime.fromisoformat(finished)
    return f"{passed.days} days" if passed.days > 1 else duration(passed.total_seconds())
