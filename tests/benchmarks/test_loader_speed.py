"""Both sides load the same images, ours as Pillow decodes them, and the faster one wins."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import loader_speed
from benchmarks.loader_speed import Contest, folder_loader, photograph_contests, run_contest
from benchmarks.repeated_tar import write_repeated_tar
from harness.data import prepare as preparing
from tests.benchmarks.photographs import write_photographs


def test_photographs_are_loaded_by_both_sides(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loader_speed, "CROP", 24)
    monkeypatch.setattr(preparing, "RAW_LIMIT", preparing.RAW_LIMIT)  # restored afterwards
    source = write_photographs(workdir / "photographs.tar")
    tar = write_repeated_tar(source, workdir / "repeated.tar", 12)
    full, small = photograph_contests(tar, workdir)
    assert "crops equal to Pillow's" in capsys.readouterr().out
    (ours,) = full.ours(0)
    assert ours.images.shape == (11, 3, 24, 24)  # one of the twelve is for val
    for contest in (full, small):
        (images, labels), *_ = contest.theirs(0)
        assert len(images) == len(labels) == contest.images == 11
        assert images.dtype == torch.uint8


def test_a_contest_is_won_by_the_required_ratio(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = {"ours": 1.0, "theirs": 3.0}
    monkeypatch.setattr(loader_speed, "epoch_seconds", lambda batches: seconds[batches])
    for min_ratio, passes in ((3.0, True), (3.1, False)):
        contest = Contest("files", min_ratio, 300, lambda epoch: "ours", lambda workers: "theirs")
        assert run_contest(contest, rounds=2) is passes
    assert "files: 300 and 100 images/s, ratio 3.00 (3.00 to 3.00)" in capsys.readouterr().out


def test_the_peer_scales_and_crops(workdir: Path) -> None:
    source = write_photographs(workdir / "photographs.tar", height=260, width=300)
    tar = write_repeated_tar(source, workdir / "repeated.tar", 4)
    import tarfile

    with tarfile.open(tar) as archive:
        archive.extractall(workdir, filter="data")
    (images, _), *_ = folder_loader(workdir / "train", 0)
    assert images.shape == (3, 3, 224, 224)
