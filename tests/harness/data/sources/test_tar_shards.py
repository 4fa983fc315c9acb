"""Tar shards: labels from .cls or .json files beside the images."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import UserError
from harness.data.sources import open_source


def write_shard(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.5, 1.5], r"0\.json cannot be read: its label is 0\.5, neither an integer nor a text"),
        ([[1], [2]], r"its label is \[1\], neither"),
        ([0, 10**12], "label 1000000000000 is no class index"),
        ([0, 10**6], "labels up to 1,000,000 would make 1,000,001 classes of 2 images"),
        ([f"id{i}" for i in range(20)], "each of its 20 images has a label of its own"),
    ],
)
def test_labels_that_are_no_classes_are_refused(
    workdir: Path, labels: list[Any], message: str
) -> None:
    files = {}
    for i, label in enumerate(labels):
        files |= {f"{i}.jpg": b"?", f"{i}.json": json.dumps({"label": label}).encode()}
    with pytest.raises(UserError, match=message):
        open_source(write_shard(workdir / "train-0.tar", files))


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe", b"{}{}"])
def test_damaged_annotations_are_named_in_one_line(workdir: Path, content: bytes) -> None:
    path = write_shard(workdir / "train-0.tar", {"0.jpg": b"?", "0.json": content})
    with pytest.raises(UserError, match=r"train-0\.tar: 0\.json cannot be read: [^\n]+$"):
        open_source(path)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({}, r"image 8 has neither 8\.cls nor a 8\.json"),
        ({"8.json": b"{cut"}, r"imagenet-val-000002\.tar: 8\.json cannot be read"),
    ],
    ids=["no label", "damaged label"],
)
def test_an_image_without_a_readable_label_is_named(
    photos: Any,
    layouts: dict[str, Callable[..., Path]],
    workdir: Path,
    extra: dict[str, bytes],
    message: str,
) -> None:
    root = layouts["tar shards"](photos, workdir / "source")
    files = {"7.cls": b"1", "7.jpg": b"1", "8.jpg": b"1", **extra}
    write_shard(root / "imagenet-val-000002.tar", files)
    with pytest.raises(UserError, match=message):
        open_source(root)


def test_labels_may_have_leading_zeros(workdir: Path) -> None:
    files = {"1.cls": b"00", "1.jpg": b"?", "2.cls": b"01", "2.jpg": b"?"}
    shard = write_shard(workdir / "train-0.tar", files)
    assert [image.label for image in open_source(shard)] == [0, 1]


def test_labels_are_all_numbers_or_all_names(workdir: Path) -> None:
    files = {"1.cls": b"0", "1.jpg": b"?", "2.cls": b"cat", "2.jpg": b"?"}
    shard = write_shard(workdir / "train-0.tar", files)
    with pytest.raises(UserError, match=r"some labels are numbers \(0\), others names \(cat\)"):
        open_source(shard)


def test_class_names_are_compared_as_people_read_them(workdir: Path) -> None:
    names = ["caf\u00e9", "cafe\u0301", "Tea", "tea"]
    files: dict[str, bytes] = {}
    for i, name in enumerate(names):
        files |= {f"{i}.jpg": b"?", f"{i}.cls": name.encode()}
    source = open_source(write_shard(workdir / "train-0.tar", files))
    assert source.class_names == ("Tea", "caf\u00e9", "tea")
    assert "'Tea', 'tea'" in source.dataset_notes[0]
