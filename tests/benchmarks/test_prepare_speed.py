"""The bare loop and prepare are timed on the same images."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.prepare_speed import bare_loop_rate, share_of_loop
from benchmarks.repeated_tar import write_repeated_tar
from harness.data.prepared_dataset import prepared_names
from tests.benchmarks.photographs import write_photographs


def test_prepare_is_timed_against_the_loop(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_photographs(workdir / "photographs.tar")
    tar = write_repeated_tar(source, workdir / "repeated.tar", 8)
    assert share_of_loop(tar, workdir / "root", 2) > 0
    assert prepared_names(workdir / "root") == ["repeated"]
    assert "images/s per core" in capsys.readouterr().out


def test_every_image_of_the_loop_is_decoded() -> None:
    with pytest.raises(Exception, match="image"):
        bare_loop_rate([b"no image"], 1)
