"""Tiny-ImageNet-200: validation labels from val_annotations.txt, and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import UserError
from harness.data.sources import open_source


@pytest.fixture
def tiny_imagenet(photos: Any, workdir: Path) -> Path:
    """The dataset, with a copy of a validation image in a class folder, as many people sort it."""
    root = workdir / "tiny-imagenet-200"
    for i, (wnid, data) in enumerate(photos.train):
        (root / "train" / wnid / "images").mkdir(parents=True, exist_ok=True)
        (root / "train" / wnid / "images" / f"{wnid}_{i}.JPEG").write_bytes(data)
    for part in ("val", "test"):
        (root / part / "images").mkdir(parents=True)
        for i, (_, data) in enumerate(photos.val):
            (root / part / "images" / f"{part}_{i}.JPEG").write_bytes(data)
    (root / "wnids.txt").write_text("\n".join(reversed(photos.wnids)))
    lines = [f"val_{i}.JPEG\t{wnid}\t0\t0\t62\t62\n" for i, (wnid, _) in enumerate(photos.val)]
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    copies = root / "val" / photos.val[0][0] / "images"
    copies.mkdir(parents=True)
    (copies / "val_0.JPEG").write_bytes(photos.val[0][1])
    return root


def test_val_images_get_their_labels_from_the_annotations(photos: Any, tiny_imagenet: Path) -> None:
    source = open_source(tiny_imagenet)
    assert source.layout == "Tiny-ImageNet-200"
    assert source.dataset_notes == ("10 test images without labels are ignored",)
    images = list(source)
    assert sum(image.part == "train" for image in images) == len(photos.train)
    val = sorted((image.name, image.label) for image in images if image.part == "val")
    assert [source.class_names[label] for _, label in val] == [wnid for wnid, _ in photos.val]


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (
            "val/images/val_3.JPEG",
            "val holds 9 images, fewer than the expected 10; get it again from http",
        ),
        ("wnids.txt", r"wnids\.txt is missing; get it from http"),
    ],
)
def test_what_is_missing_is_named(tiny_imagenet: Path, missing: str, message: str) -> None:
    (tiny_imagenet / missing).unlink()
    with pytest.raises(UserError, match=message):
        open_source(tiny_imagenet)
