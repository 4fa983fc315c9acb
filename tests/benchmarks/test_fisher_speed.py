"""The data are photographs, and both sides get the same descriptors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from benchmarks import fisher_speed, vlfeat
from benchmarks.fisher_speed import Sides, differences, main, photograph_pieces
from pipelines.handcrafted.encoders.fisher import FisherVector
from pipelines.handcrafted.encoders.gmm import GMM


def test_the_pieces_are_corners_of_two_photographs() -> None:
    pieces = photograph_pieces()
    assert pieces.shape == (4, 3, 256, 256)
    assert 50 < pieces.mean() < 200
    assert len({piece.numpy().tobytes() for piece in pieces}) == 4


@pytest.mark.skipif(vlfeat.unavailable() is not None, reason=str(vlfeat.unavailable()))
def test_both_sides_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    monkeypatch.setattr(fisher_speed, "ALL_DESCRIPTORS", torch.ones(1, 50, dtype=torch.bool))
    descriptors = torch.randn(4, 50, 8, generator=generator)
    variances = 1 + torch.rand(3, 8, generator=generator)
    gmm = GMM(
        means=torch.randn(3, 8, generator=generator),
        variances=variances,
        weights=torch.full((3,), 1 / 3),
    )
    with ThreadPoolExecutor(2) as pool:
        assert max(differences(Sides(descriptors, gmm, FisherVector(gmm), pool))) <= 1e-4


def test_the_command_says_why_there_is_no_peer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vlfeat, "unavailable", lambda: "gcc is not installed")
    assert main() == 0
    assert "skipped: gcc is not installed" in capsys.readouterr().out
