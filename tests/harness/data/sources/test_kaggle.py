"""Kaggle's layout: labels from LOC_val_solution.csv, and what is missing or contradictory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import UserError
from harness.data.sources import open_source


@pytest.fixture
def kaggle(photos: Any, layouts: dict[str, Callable[..., Path]], workdir: Path) -> Path:
    return layouts["kaggle"](photos, workdir / "source")


def test_test_images_are_ignored_with_a_note(kaggle: Path) -> None:
    assert open_source(kaggle).dataset_notes == ("1 test images without labels are ignored",)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (
            "LOC_val_solution.csv",
            "LOC_val_solution.csv is missing; get it from https://www.kaggle.com",
        ),
        ("LOC_synset_mapping.txt", "LOC_synset_mapping.txt is missing"),
    ],
)
def test_a_missing_file_is_named(kaggle: Path, missing: str, message: str) -> None:
    (kaggle / missing).unlink()
    with pytest.raises(UserError, match=message):
        open_source(kaggle)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"ImageId,PredictionString\nILSVRC2012_val_00000001",
            "LOC_val_solution.csv is damaged",
        ),
        (b"", "LOC_val_solution.csv has no line for ILSVRC2012_val_0"),
    ],
    ids=["truncated", "empty"],
)
def test_a_damaged_solution_is_reported(kaggle: Path, content: bytes, message: str) -> None:
    (kaggle / "LOC_val_solution.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        open_source(kaggle)


def test_a_validation_image_in_the_wrong_class_folder_is_refused(kaggle: Path) -> None:
    val = kaggle / "ILSVRC/Data/CLS-LOC/val"
    for image in list(val.iterdir()):
        (val / "n01440764").mkdir(exist_ok=True)
        image.rename(val / "n01440764" / image.name)
    message = r"is in folder n01440764, but LOC_val_solution.csv says n0"
    with pytest.raises(UserError, match=message):
        open_source(kaggle)
