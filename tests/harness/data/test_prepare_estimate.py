"""The estimate of a preparation, against the preparation itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.data import prepare as prepare_module
from harness.data.prepare_estimate import estimate_lines, estimate_preparation
from harness.data.prepared_dataset import PreparedDataset
from harness.data.sources import open_source

COUNTS = {"train/cat": 20, "train/dog": 23, "test/cat": 9, "test/dog": 8}


def test_the_estimated_bytes_are_those_of_the_stored_images(
    workdir: Path,
    pictures: Callable[..., Path],
    prepare_source: Callable[..., PreparedDataset],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photos = pictures(workdir / "photos", COUNTS, size=(40, 50))
    assert estimate_preparation(open_source(photos), size=32, workers=1).raw
    monkeypatch.setattr(prepare_module, "RAW_LIMIT", 1000)
    estimate = estimate_preparation(open_source(photos), size=32, workers=1)
    assert not estimate.raw
    split = prepare_source(photos, name="pets", size=32).split("train")
    stored = [len(split.images.stored_bytes(row)) for row in split.rows]
    assert estimate.bytes == pytest.approx(1.1 * 60 * np.mean(stored), rel=0.05)
    assert estimate.ilsvrc_2012_bytes == pytest.approx(1.1 * 1_331_167 * np.mean(stored), rel=0.05)


def test_the_printed_estimate_names_source_rate_and_space(
    workdir: Path, pictures: Callable[..., Path]
) -> None:
    source = open_source(pictures(workdir / "photos", COUNTS, size=(40, 50)))
    estimate = estimate_preparation(source, size=32, workers=2)
    lines = estimate_lines(estimate, source, workdir / "not/there", 32)
    assert "class folders, 2 classes, 60 images" in lines[0]
    assert "images/s" in lines[1]
    assert "2 cores" in lines[2]
    assert "1,331,167 images like these" in lines[3]
    assert lines[4].endswith(f"GB in {workdir / 'not/there'}")
