"""Preparations are compared byte by byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.interrupted_prepare import Tally, file_digests, kill_preparations
from benchmarks.repeated_tar import NAME, write_repeated_tar
from harness.data.prepared_dataset import prepared_folder
from tests.benchmarks.photographs import write_photographs


def test_one_changed_byte_is_found(workdir: Path) -> None:
    for root, data in (("one", b"abc"), ("same", b"abc"), ("other", b"abd")):
        folder = prepared_folder(workdir / root, NAME)
        folder.mkdir(parents=True)
        (folder / "train-0.arrow").write_bytes(data)
    assert file_digests(workdir / "one") == file_digests(workdir / "same")
    assert file_digests(workdir / "one") != file_digests(workdir / "other")


def test_preparations_are_counted() -> None:
    tally = Tally()
    tally.add(is_equal=True)
    tally.add(is_equal=False)
    assert tally == Tally(kills=0, preparations=2, equal=1)


@pytest.mark.slow
def test_a_killed_preparation_ends_byte_equal(workdir: Path) -> None:
    source = write_photographs(workdir / "photographs.tar")
    tar = write_repeated_tar(source, workdir / "repeated.tar", 2000)
    tally, _ = kill_preparations(tar, workdir, kills=3, seed=0)
    assert tally.kills == 3
    assert tally.equal == tally.preparations
