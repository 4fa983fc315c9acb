"""Extracted ILSVRC-2012: the validation images flat, their labels from the kit."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import UserError
from harness.data.sources import open_source


@pytest.fixture
def extracted(photos: Any, layouts: dict[str, Callable[..., Path]], workdir: Path) -> Path:
    """The folders as `tar -x` leaves them, with the kit beside them."""
    root = layouts["official"](photos, workdir / "extracted")
    for i, (wnid, data) in enumerate(photos.train):
        (root / "train" / wnid).mkdir(parents=True, exist_ok=True)
        (root / "train" / wnid / f"{wnid}_{i}.JPEG").write_bytes(data)
    (root / "val").mkdir()
    for i, (_, data) in enumerate(photos.val):
        (root / "val" / f"{photos.val_name(i)}.JPEG").write_bytes(data)
    for tar in root.glob("*.tar"):
        tar.unlink()
    return root


def test_validation_images_get_their_labels_from_the_kit(photos: Any, extracted: Path) -> None:
    source = open_source(extracted)
    assert source.layout == "ILSVRC-2012, extracted"
    wnid_of = {data: wnid for wnid, data in photos.train + photos.val}
    images = [(image.part, source.class_names[image.label], image.read()) for image in source]
    assert sum(part == "val" for part, _, _ in images) == len(photos.val)
    assert sum(part == "train" for part, _, _ in images) == len(photos.train)
    assert all(wnid == wnid_of[data] for _, wnid, data in images)


def test_the_digests_are_those_of_class_folders(
    photos: Any,
    layouts: dict[str, Callable[..., Path]],
    prepare_source: Callable[..., Any],
    extracted: Path,
    workdir: Path,
) -> None:
    folders = layouts["class folders"](photos, workdir / "sorted")
    parts = [prepare_source(root, size=64).manifest["parts"] for root in (extracted, folders)]
    for part in ("train", "val"):
        assert parts[0][part]["digest"] == parts[1][part]["digest"]


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (
            "val/ILSVRC2012_val_00000003.JPEG",
            "val holds 9 images, but ILSVRC2012_validation_ground_truth.txt has 10 lines",
        ),
        (
            "train",
            r"train holds no images in class folders: unpack ILSVRC2012_img_train\.tar there",
        ),
        (
            "ILSVRC2012_devkit_t12",
            r"development kit ILSVRC2012_devkit_t12\.tar\.gz .* is missing; "
            r"get it from https://image-net\.org",
        ),
    ],
)
def test_what_is_missing_is_named(extracted: Path, missing: str, message: str) -> None:
    path = extracted / missing
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    with pytest.raises(UserError, match=message):
        open_source(extracted)
