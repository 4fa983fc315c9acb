"""The official files of ILSVRC-2012 and 2010: labels by WordNet id, and what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness import UserError
from harness.data.sources import open_source
from harness.data.sources._ilsvrc import read_kit
from harness.data.sources._ilsvrc_val_labels import VAL_LABELS_DIGEST, labels_digest
from harness.data.sources.ilsvrc2012 import YEAR

KIT_DATA = "ILSVRC2012_devkit_t12/data"
TRUTH = "ILSVRC2012_validation_ground_truth.txt"


@pytest.fixture
def official(photos: Any, layouts: dict[str, Callable[..., Path]], workdir: Path) -> Path:
    """The folder of ILSVRC-2012's official files."""
    return layouts["official"](photos, workdir / "ilsvrc")


def test_labels_are_ranks_of_wordnet_ids_and_not_the_ids_of_the_kit(
    photos: Any, official: Path
) -> None:
    source = open_source(official)
    assert source.class_names == tuple(photos.wnids)
    wnid_of = {data: wnid for wnid, data in photos.train + photos.val}
    for image in source:
        assert source.class_names[image.label] == wnid_of[image.read()]


def test_ilsvrc_2010_scores_its_public_test_part(
    photos: Any,
    layouts: dict[str, Callable[..., Path]],
    prepare_source: Callable[..., Any],
    workdir: Path,
) -> None:
    root = layouts["official"](photos, workdir / "ilsvrc2010", year=2010)
    prepare_source(root, name="ilsvrc2010", size=64)
    splits = harness.load_dataset("ilsvrc2010", data_root=workdir / "root")
    assert splits.tune
    assert (len(splits.train), len(splits.tune)) == (len(photos.train), len(photos.val))
    test = splits.test
    assert test.names is not None
    wnids = [photos.wnids[label] for label in test.labels]
    assert dict(zip(test.names, wnids, strict=True)) == {
        f"ILSVRC2010_test_{i:08}.JPEG": wnid for i, (wnid, _) in enumerate(photos.val, 1)
    }


def test_ilsvrc_2010_needs_the_labels_of_its_test_part(
    photos: Any, layouts: dict[str, Callable[..., Path]], workdir: Path
) -> None:
    root = layouts["official"](photos, workdir / "ilsvrc2010", year=2010)
    (root / "ILSVRC2010_test_ground_truth.txt").unlink()
    message = r"ILSVRC2010_test_ground_truth\.txt \(.*is missing; get it from https://image-net\.org/.*2010"
    with pytest.raises(UserError, match=message):
        open_source(root)


def test_one_of_the_tars_alone_refers_to_its_folder(official: Path) -> None:
    message = r"one of several files of ILSVRC-2012; give the folder that contains them: .*ilsvrc$"
    with pytest.raises(UserError, match=message):
        open_source(official / "ILSVRC2012_img_val.tar")


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (
            "ILSVRC2012_img_val.tar",
            r"ILSVRC2012_img_val\.tar \(MD5 29b22e.*is missing; get it from https://image-net\.org",
        ),
        (
            f"{KIT_DATA}/meta.mat",
            r"development kit ILSVRC2012_devkit_t12\.tar\.gz .* is missing",
        ),
        (f"{KIT_DATA}/{TRUTH}", "validation_ground_truth.txt .* is missing"),
    ],
)
def test_a_missing_file_is_named(official: Path, missing: str, message: str) -> None:
    (official / missing).unlink()
    with pytest.raises(UserError, match=message):
        open_source(official)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            f"{KIT_DATA}/meta.mat",
            b"MATLAB 5.0 MAT-file" + b" " * 200,
            r"meta\.mat of .* is damaged",
        ),
        (f"{KIT_DATA}/{TRUTH}", b"<html>", "ground_truth.txt is damaged"),
        (
            "ILSVRC2012_img_train.tar",
            b"x" * 5000,
            r"ILSVRC2012_img_train\.tar is damaged: [^\n]+; copy or download it again$",
        ),
    ],
)
def test_a_damaged_file_is_named_in_one_line(
    official: Path, file: str, content: bytes, message: str
) -> None:
    assert (official / file).exists()
    (official / file).write_bytes(content)
    with pytest.raises(UserError, match=message):
        open_source(official)


def test_a_ground_truth_of_another_length_is_refused(official: Path) -> None:
    truth = official / KIT_DATA / TRUTH
    truth.write_text(truth.read_text() + "1\n")
    message = r"holds 10 images, but ILSVRC2012_validation_ground_truth\.txt has 11 lines"
    with pytest.raises(UserError, match=message):
        open_source(official)


def test_the_recorded_digest_of_validation_labels_is_that_of_the_kit(samples: Path) -> None:
    if not (samples / "ilsvrc2012-devkit").exists():
        pytest.skip(f"needs ilsvrc2012-devkit in {samples}")
    kit = read_kit(samples / "ilsvrc2012-devkit", YEAR)
    labels = kit.labels("val")
    pairs = [
        (f"ILSVRC2012_val_{i:08}", kit.class_names[label]) for i, label in enumerate(labels, 1)
    ]
    assert len(kit.class_names) == 1000
    assert pairs[0] == ("ILSVRC2012_val_00000001", "n01751748")
    assert np.bincount(labels).tolist() == [50] * 1000
    assert labels_digest(pairs) == VAL_LABELS_DIGEST
