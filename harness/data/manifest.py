"""The manifest of a prepared dataset, dataset.json: read and checked before it is believed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.commands import harness_command
from harness.data.sources import PARTS, UNSPLIT
from harness.errors import UserError

MANIFEST = "dataset.json"
CODECS = ("raw", "jpeg")
TEXTS = ("identity", "source", "layout", "preparation")


def damaged_error(name: str, reason: object) -> UserError:
    """Return the error about a prepared dataset that cannot be used, with how to repair it."""
    return UserError(
        f"the prepared dataset {name} is damaged ({reason}): see "
        f"{harness_command('data', 'verify', name)}; to repair it, remove it by "
        f"{harness_command('data', 'rm', name)} and prepare it again"
    )


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a prepared dataset.

    Raises
    ------
    UserError
        If it cannot be read, or if something in it is missing or of the wrong type.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a JSON document"
        raise damaged_error(folder.name, f"{MANIFEST}: {reason}") from error
    for problem in _find_problems(manifest):
        raise damaged_error(folder.name, f"{MANIFEST}: {problem}")
    assert isinstance(manifest, dict)
    return manifest


def _find_problems(manifest: object) -> Iterator[str]:
    """Yield what is wrong, the first problem first; later ones may follow from it."""
    if not isinstance(manifest, dict):
        yield "not a JSON object"
        return
    for key in TEXTS:
        if not isinstance(manifest.get(key), str):
            yield f"{key} is not a text"
    if manifest.get("codec") not in CODECS:
        yield f"codec is none of {', '.join(CODECS)}"
    if type(manifest.get("size")) is not int:
        yield "size is not a number"
    for key in ("class_names", "dataset_notes"):
        if not _is_list_of_texts(manifest.get(key)):
            yield f"{key} is not a list of texts"
    parts = manifest.get("parts")
    if not isinstance(parts, dict) or not parts or not {*parts} <= {*PARTS.values(), UNSPLIT}:
        yield "parts are not those of a dataset"
        return
    for part, content in parts.items():
        for key in _wrong_keys(part, content):
            yield f"{key} of {part} is wrong"


def _wrong_keys(part: str, content: object) -> Iterator[str]:
    """Yield the keys of a part whose values are missing or of the wrong type."""
    if not isinstance(content, dict):
        yield "content"
        return
    if type(content.get("n")) is not int:
        yield "n"
    if not isinstance(content.get("digest"), str):
        yield "digest"
    for key in ("undecodable", "unusual"):
        pairs = content.get(key)
        is_listed = isinstance(pairs, list) and all(
            _is_list_of_texts(pair) and len(pair) == 2 for pair in pairs
        )
        if not is_listed:
            yield key
    files = content.get("files")
    if not isinstance(files, dict) or not files:
        yield "files"
        return
    for name, file in files.items():
        is_described = isinstance(file, dict) and type(file.get("rows")) is int
        # no name that leads out of the folder
        if not re.fullmatch(rf"{part}-\d{{5,}}\.arrow", name) or not is_described:
            yield f"file {name!r}"
        elif not isinstance(file.get("sha256"), str):
            yield f"checksum of {name}"


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)
