"""Notes on the files that a source holds and does not read, with counts by kind."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import PurePosixPath

from harness.data.decode import has_image_suffix, is_system_file, system_part

LISTED = 4  # kinds or files that a note names
SPLIT_WORDS = frozenset(
    (
        "train", "test", "val", "valid", "validation", "trainval", "split", "splits", "label",
        "labels", "classes", "annotation", "annotations", "setid", "imagelabels", "metadata",
    )
)  # fmt: skip
TABLE_SUFFIXES = frozenset(
    (".txt", ".csv", ".tsv", ".json", ".jsonl", ".mat", ".xlsx", ".pkl", ".npy", ".lst", ".xml")
)


def passed_over_notes(
    names: Sequence[str], images: Sequence[str], reported: Collection[str]
) -> list[str]:
    """Return the notes on files that are not read.

    Parameters
    ----------
    names : sequence of str
        All files.
    images : sequence of str
        Those that are images by their name.
    reported : collection of str
        Those images that have a class or are the subject of another note.
    """
    outside = [name for name in images if name not in reported]
    notes = []
    if outside:
        notes.append(
            f"{len(outside):,} images outside class folders are ignored, such as {outside[0]}"
        )
    hidden = [name for name in names if is_system_file(name) and has_image_suffix(name)]
    if hidden:
        kinds = Counter(map(_system_kind, hidden))
        notes.append(f"{_listed(kinds)} are ignored, such as {hidden[0]}")
    others = [name for name in names if "/" in name and _is_unread(name)]
    if others:
        kinds = suffix_counts(others)
        notes.append(
            f"{len(others):,} files without an image suffix are ignored ({_listed(kinds)}), "
            f"such as {others[0]}"
        )
    return notes


def _system_kind(name: str) -> str:
    part = system_part(name) or ""
    is_hidden = part.startswith(".") or part.startswith("__")
    return "hidden files" if is_hidden else f"files of {part}"


def _is_unread(name: str) -> bool:
    return not is_system_file(name) and not has_image_suffix(name)


def suffix_counts(names: Iterable[str]) -> Counter[str]:
    """Count files by their suffix in lower case, for messages."""
    return Counter(PurePosixPath(name).suffix.lower() or "without suffix" for name in names)


def _listed(kinds: Counter[str]) -> str:
    common = [f"{count:,} {kind}" for kind, count in kinds.most_common(LISTED)]
    rest = sum(kinds.values()) - sum(count for _, count in kinds.most_common(LISTED))
    return ", ".join([*common, f"{rest:,} others"] if rest else common)


def contents(names: Sequence[str]) -> str:
    """Return what a source without usable images holds, by suffix: `2 .zip, 30 .heic`."""
    visible = [name for name in names if not is_system_file(name)]
    return _listed(suffix_counts(visible)) or "nothing"


def unread_split_files(names: Iterable[str], images: Iterable[str]) -> list[str]:
    """Return the files that look like an official split or labels, and are not an image's own."""
    stems = {name.rpartition(".")[0].rpartition("/")[2] for name in images}
    found = []
    for name in names:
        path = PurePosixPath(name)
        if path.suffix.lower() not in TABLE_SUFFIXES or is_system_file(name) or path.stem in stems:
            continue
        if SPLIT_WORDS & set(re.split(r"[^a-z]+", path.stem.lower())):
            found.append(name)
    return found


def unread_split_note(names: Sequence[str], images: Iterable[str]) -> list[str]:
    """Return a note on such files, if there are few enough to be a split's."""
    found = unread_split_files(names, images)
    if not found:
        return []
    more = f" and {len(found) - LISTED:,} more" if len(found) > LISTED else ""
    verb = "is" if len(found) == 1 else "are"
    return [
        f"{', '.join(found[:LISTED])}{more} {verb} there and not read: classes and parts come from "
        "the folders alone"
    ]
