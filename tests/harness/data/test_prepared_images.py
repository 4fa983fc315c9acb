"""Images of a prepared dataset that is damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness import UserError
from harness.data import prepare as prepare_module
from harness.data.prepared_dataset import PreparedDataset
from harness.data.random_draws import RandomCrop
from harness.data.split import Split

PrepareSource = Callable[..., PreparedDataset]


@pytest.fixture(params=["one size", "several sizes"])
def damaged(
    request: pytest.FixtureRequest,
    workdir: Path,
    pictures: Callable[..., Path],
    prepare_source: PrepareSource,
    monkeypatch: pytest.MonkeyPatch,
) -> Split:
    """A split of JPEG files, one of which is overwritten after it was mapped."""
    monkeypatch.setattr(prepare_module, "RAW_LIMIT", 100)
    root = pictures(workdir / "photos", {"train/cat": 9, "train/dog": 9, "test/cat": 1})
    if request.param == "several sizes":
        pictures(root, {"train/emu": 9}, size=(60, 45))
    prepared = prepare_source(root, name="pets")
    split = prepared.split("train")
    split.images.read(split.rows[:1])
    file = prepared.folder / "train-00000.arrow"
    start = file.read_bytes().index(b"\xff\xd8\xff")
    with file.open("r+b") as opened:  # in place, so that the mapped file changes
        opened.seek(start)
        opened.write(b"\0" * 16)
    return split


@pytest.mark.parametrize("crop", [None, RandomCrop(8)])
def test_reading_damaged_images_names_the_dataset(damaged: Split, crop: RandomCrop | None) -> None:
    message = r"the prepared dataset pets is damaged at row \d+ .*harness data verify pets"
    with pytest.raises(UserError, match=message):
        list(damaged.shuffled(16, seed=0, epoch=0, crop=crop))
    with pytest.raises(UserError, match=message):
        list(damaged.batches(16))


@pytest.mark.parametrize("raw_limit", [0, prepare_module.RAW_LIMIT])
def test_opening_a_split_reads_no_image(
    pictures: Callable[..., Path],
    prepare_source: PrepareSource,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    raw_limit: int,
) -> None:
    """What is mapped or loaded counts as memory of the process.

    Here nothing is left to map, which is noticed only at the first image.
    """
    monkeypatch.setattr(prepare_module, "RAW_LIMIT", raw_limit)
    root = pictures(workdir / "photos", {"train/cat": 4, "train/dog": 4, "test/cat": 1})
    prepared = prepare_source(root, name="pets")
    split = prepared.split("train")
    for shard in prepared.folder.glob("train-*.arrow"):
        shard.unlink()
    message = r"prepared dataset pets is damaged at row 0 .*harness data verify pets"
    with pytest.raises(UserError, match=message):
        next(split.batches(4))


def test_raw_images_of_one_size_are_read_into_memory_once(
    pictures: Callable[..., Path], prepare_source: PrepareSource, workdir: Path
) -> None:
    root = pictures(workdir / "photos", {"train/cat": 4, "train/dog": 4, "test/cat": 1})
    prepared = prepare_source(root, name="pets")
    split = prepared.split("train")
    before = split.images.read(split.rows)
    for shard in prepared.folder.glob("train-*.arrow"):
        shard.unlink()
    assert np.array_equal(before, split.images.read(split.rows))
