"""The stock network computes what ours does, and the report applies the rule."""

from __future__ import annotations

import pytest
import torch

from benchmarks import training_step_speed
from benchmarks.training_step_speed import (
    StockNorm,
    compare_gradients,
    make_our_step,
    make_stock_step,
    our_network,
    report,
)
from pipelines.learned.normalization import LocalResponseNorm


@pytest.fixture
def small_network(monkeypatch: pytest.MonkeyPatch) -> int:
    """Use the network of 32 pixels; return the side of its crops."""
    monkeypatch.setattr(training_step_speed, "SIDE", 32)
    monkeypatch.setattr(training_step_speed, "CLASSES", 10)
    return our_network().crop


def test_stock_normalization_equals_ours_within_columns() -> None:
    ours = LocalResponseNorm(columns=2)
    images = 10 * torch.randn(2, 12, 3, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(StockNorm(ours)(images), ours(images))


def test_losses_and_gradients_are_equal(small_network: int) -> None:
    images = torch.randn(2, 3, small_network, small_network)
    labels = torch.tensor([0, 1])
    assert "largest relative difference" in compare_gradients(images, labels)


def test_unequal_networks_end_the_benchmark(
    small_network: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_step_speed, "TOLERANCE", -1.0)
    images = torch.randn(2, 3, small_network, small_network)
    with pytest.raises(SystemExit, match="our network and the stock one differ"):
        compare_gradients(images, torch.tensor([0, 1]))


def test_both_kinds_of_step_train(small_network: int) -> None:
    images = torch.randn(2, 3, small_network, small_network)
    labels = torch.tensor([0, 1])
    make_our_step(images, labels, lrn=True, precision="float32")()
    make_stock_step(images, labels)()


@pytest.mark.parametrize(
    ("stock", "without_norm", "passes"),
    [(1.7, 1.0, True), (1.6, 1.0, False), (1.7, 0.8, False)],
)
def test_the_report_applies_the_rule(
    stock: float, without_norm: float, passes: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = {"ours": [1.0] * 3, "stock": [stock] * 3, "lrn=false": [without_norm] * 3}
    assert report(seconds, batch=128) is passes
    assert "128.0 images/s" in capsys.readouterr().out
