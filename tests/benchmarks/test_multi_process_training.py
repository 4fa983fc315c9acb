"""Losses are compared relative to those of one process, epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.multi_process_training import SHARES, largest_difference, losses, report_line


@pytest.fixture
def result_with() -> Callable[[list[float]], Any]:
    """Build a result with these losses, whose epochs took the same shares of time."""

    def build(epoch_losses: list[float]) -> Any:
        curves = {"train/loss": list(enumerate(epoch_losses))}
        for share, activity in zip((0.5, 0.3, 0.2), SHARES, strict=True):
            curves[f"time/{activity}"] = [(epoch, share) for epoch in range(len(epoch_losses))]
        return SimpleNamespace(curves=curves, cost=SimpleNamespace(fit_seconds=12.34))

    return build


def test_the_largest_difference_of_any_epoch_counts(result_with: Callable[..., Any]) -> None:
    one, two = result_with([2.0, 1.0]), result_with([2.0, 1.5])
    assert losses(two) == [2.0, 1.5]
    assert largest_difference(two, one) == 0.5
    with pytest.raises(ValueError, match="longer"):
        largest_difference(result_with([2.0]), one)


def test_a_line_shows_loss_difference_and_shares(result_with: Callable[..., Any]) -> None:
    line = report_line("2 processes, data", result_with([2.0, 1.0]), 1e-7)
    assert "loss 1.000000, largest difference 1.0e-07" in line
    assert "compute 50.0 %, exchange 30.0 %, data 20.0 %" in line
    assert "fit 12.3 s" in line
