"""Notes on the images of a prepared dataset that are undecodable or were converted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from harness.data.conversion import FLOATING_POINT, ON_WHITE
from harness.data.prepared_dataset import PreparedDataset

LISTED_REASONS = 5  # why images are undecodable, one note each
BITS = re.compile(r"(\d+) bits per channel(?:, (\d+) significant)?")
# a description of decode.py -> what a note says of such images
NOTED = {
    ON_WHITE: "transparent pixels were laid on white",
    "CMYK": "CMYK was converted to RGB without a color profile",
    "animated": "animated or of several pages, of which the first is used",
    r"EXIF rotation .* not applied": "the EXIF rotation was not applied",
    r"EXIF rotation .*\) applied": "the EXIF rotation was applied, as Pillow does with TIFF",
}
Listed = tuple[str, str, str]
"""Part, name, and why it is undecodable or what is unusual about it."""


def image_notes(prepared: PreparedDataset) -> list[str]:
    """Return what a reader of the numbers must know about the images, with counts."""
    return [*undecodable_notes(prepared.undecodable), *conversion_notes(prepared.unusual)]


def undecodable_notes(images: Sequence[Listed]) -> list[str]:
    """Return one note per reason, the most frequent first."""
    groups = group_by_reason(images)
    return [f"cannot be decoded: {names} ({reason})" for names, reason in groups]


def group_by_reason(images: Sequence[Listed]) -> list[tuple[str, str]]:
    """Group images by the reason for which they are undecodable.

    Returns
    -------
    groups : list of (names, reason)
        Such as ("a.jpg and 3 more", "the file is empty"), the most frequent reason first; those
        beyond LISTED_REASONS are one group.
    """
    counts = Counter(reason for _, _, reason in images)
    first_names = {reason: name for _, name, reason in reversed(images)}
    groups = []
    for reason, count in counts.most_common(LISTED_REASONS):
        others = f" and {count - 1:,} more" if count > 1 else ""
        groups.append((f"{first_names[reason]}{others}", reason))
    unlisted = len(images) - sum(count for _, count in counts.most_common(LISTED_REASONS))
    if unlisted:
        groups.append((f"{unlisted:,} more", f"for {len(counts) - len(groups)} other reasons"))
    return groups


def conversion_notes(images: Sequence[Listed]) -> list[str]:
    """Return one note per kind of conversion that changes what is seen in an image."""
    descriptions = [description for _, _, description in images]
    bits = Counter(filter(None, map(_significant_bits, descriptions)))
    ranges = Counter(filter(None, map(_float_range, descriptions)))
    notes = [
        _levels_note("the upper 8 of the significant bits per channel were kept", bits),
        _levels_note("floating-point pixels were brought to 8 bits", ranges),
    ]
    for pattern, remark in NOTED.items():
        count = sum(bool(re.match(pattern, description)) for description in descriptions)
        notes.append(f"{remark}: {_number(count)}" if count else "")
    return list(filter(None, notes))


def _significant_bits(description: str) -> str:
    match = BITS.match(description)
    return f"{match[2] or match[1]} bits" if match else ""


def _float_range(description: str) -> str:
    is_float = description.startswith(FLOATING_POINT)
    return description.removeprefix(f"{FLOATING_POINT}, ") if is_float else ""


def _levels_note(remark: str, counts: Counter[str]) -> str:
    """Return a note with the number of images per number of bits or range; "" for no images."""
    if not counts:
        return ""
    levels = sorted(counts, key=lambda level: (len(level), level))  # 8 bits before 12
    listed = ", ".join(f"{_number(counts[level])} of {level}" for level in levels)
    differ = "; as these differ, equal values are not equally bright in all images"
    return f"{remark}: {listed}{differ if len(counts) > 1 else ''}"


def _number(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"
