"""A manifest of any content is read or refused in one line, which names it."""

from __future__ import annotations

import copy
import json
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from harness import UserError
from harness.data.manifest import MANIFEST, read_manifest

GOOD: dict[str, Any] = {
    "identity": "0123",
    "source": "/photos",
    "layout": "class folders",
    "size": 256,
    "codec": "raw",
    "preparation": "size=256",
    "class_names": ["cat", "dog"],
    "dataset_notes": ["a note"],
    "parts": {
        "train": {
            "n": 3,
            "digest": "00",
            "undecodable": [["a.png", "the file is empty"]],
            "unusual": [["b.png", "CMYK"]],
            "files": {"train-00000.arrow": {"rows": 4, "sha256": "11"}},
        }
    },
}
WRONG = [None, 3.5, {}, [3], [["a"]], {"a": 1}, {"../../passwd.arrow": {"rows": 1, "sha256": "0"}}]


@pytest.fixture
def folder(workdir: Path) -> Path:
    (workdir / "pets").mkdir()
    return workdir / "pets"


def test_a_good_manifest_is_read(folder: Path) -> None:
    (folder / MANIFEST).write_text(json.dumps(GOOD))
    assert read_manifest(folder) == GOOD


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe\0", b"[]", b"3", b"null", b"[" * 100_000, b'{"identity": ', bytes(9)],
)
def test_what_is_no_json_object_is_refused(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(UserError, match=r"dataset pets is damaged \(dataset.json: not a JSON"):
        read_manifest(folder)


def test_a_folder_in_its_place_is_refused(folder: Path) -> None:
    (folder / MANIFEST).mkdir()
    with pytest.raises(UserError, match=r"dataset\.json: Is a directory"):
        read_manifest(folder)


def leaves(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in a JSON document."""
    paths = []
    if isinstance(node, dict | list):
        for key in node if isinstance(node, dict) else range(len(node)):
            paths += [(*path, key), *leaves(node[key], (*path, key))]
    return paths


def test_any_wrong_value_is_refused(folder: Path) -> None:
    for path in leaves(GOOD):
        for value in [*WRONG, "missing"]:
            manifest = copy.deepcopy(GOOD)
            node = manifest
            for key in path[:-1]:
                node = node[key]
            if value == "missing":
                if isinstance(node, list):
                    continue
                del node[path[-1]]
            else:
                node[path[-1]] = value
            (folder / MANIFEST).write_text(json.dumps(manifest))
            with pytest.raises(UserError, match=r"pets is damaged \(dataset\.json: ") as caught:
                read_manifest(folder)
            assert "\n" not in str(caught.value)


def test_damaged_bytes_are_read_or_refused(folder: Path) -> None:
    generator = random.Random(0)
    good = json.dumps(GOOD).encode()
    for _ in range(300):
        data = bytearray(good)
        for _ in range(generator.choice([1, 5])):
            data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        (folder / MANIFEST).write_bytes(data)
        with suppress(UserError):
            read_manifest(folder)
