"""Our descriptors agree with their peers; a row without its peer is skipped."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch

from benchmarks import descriptor_speed, vlfeat
from benchmarks.descriptor_speed import ROWS, hog_agrees, run_row


@pytest.mark.parametrize("channels", [1, 3])
def test_hog_agrees_with_scikit_image(channels: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (2, channels, 32, 32), generator=generator).float()
    text, agrees = hog_agrees(images)
    assert agrees, text


@pytest.mark.skipif(vlfeat.unavailable() is not None, reason=str(vlfeat.unavailable()))
def test_sift_agrees_with_vlfeat() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (1, 1, 64, 64), generator=generator).float()
    text, agrees = descriptor_speed.sift_agrees_with_vlfeat(images)
    assert agrees, text


def test_a_row_is_timed_on_one_thread_and_on_all_cores(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(descriptor_speed, "IMAGES", 2)
    monkeypatch.setattr(descriptor_speed, "SIDE", 32)
    monkeypatch.setattr(descriptor_speed, "ROUNDS", 1)
    descriptor_speed.random_images.cache_clear()
    threads = torch.get_num_threads()
    row = replace(next(row for row in ROWS if "gray scikit" in row.name), peer_images=2)
    pool: Any = ThreadPoolExecutor(1)
    with pool:
        monkeypatch.setattr(descriptor_speed, "ROWS", [replace(row, min_ratio=1e-9)])
        assert run_row(descriptor_speed.ROWS[0], pool)
        monkeypatch.setattr(descriptor_speed, "ROWS", [replace(row, min_ratio=1e9)])
        assert not run_row(descriptor_speed.ROWS[0], pool)
    torch.set_num_threads(threads)
    descriptor_speed.random_images.cache_clear()
    assert "two cores" in capsys.readouterr().out


def test_a_row_without_its_peer_is_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    pool: Any = None
    assert run_row(replace(ROWS[0], missing=lambda: "VLFeat is not installed"), pool)
    assert "skipped: VLFeat is not installed" in capsys.readouterr().out
