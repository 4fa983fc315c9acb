from __future__ import annotations

import numpy as np
import pytest
import torch

from pipelines.handcrafted.classifiers.loss import Loss, class_signs, class_weights

SLACK = torch.linspace(-1, 3, 401, dtype=torch.float64)
LOSSES = [Loss(), Loss(0.0), Loss(0.5)]


@pytest.mark.parametrize("loss", LOSSES)
def test_slope_and_curvature_are_the_derivatives_of_the_value(loss: Loss) -> None:
    slack = SLACK + 1e-3  # no corner lies on a sample
    step = 1e-5
    slope = (loss.value(slack + step) - loss.value(slack - step)) / (2 * step)
    curvature = (loss.slope(slack + step) - loss.slope(slack - step)) / (2 * step)
    torch.testing.assert_close(loss.slope(slack), slope, atol=1e-6, rtol=0)
    torch.testing.assert_close(loss.curvature(slack), curvature, atol=1e-6, rtol=0)


def test_the_rounded_hinge_is_at_most_half_a_corner_below_the_hinge() -> None:
    error = Loss(0.5).rounding_error(SLACK)
    torch.testing.assert_close(error, Loss(0.0).value(SLACK) - Loss(0.5).value(SLACK))
    assert error.min() >= 0
    assert float(error.max()) == pytest.approx(0.25)
    assert not Loss().rounding_error(SLACK).any()


def test_the_total_weights_positives() -> None:
    margins, labels = (
        torch.randn(5, 3, generator=torch.Generator().manual_seed(0)),
        torch.tensor([0, 1, 2, 0, 1]),
    )
    signs = class_signs(labels, 3, margins.dtype)
    expected = (torch.where(signs > 0, 4.0, 1.0) * (1 - signs * margins).clamp(min=0)).sum()
    assert float(Loss(0.0).total(margins, labels, 4.0)) == pytest.approx(float(expected))
    assert torch.equal(class_weights(signs, 1.0), torch.ones(5, 3))


@pytest.mark.parametrize("loss", [Loss(), Loss(0.0)])
@pytest.mark.parametrize(
    ("slack", "rate", "square"), [(1.3, 0.4, 0.7), (0.2, 2.0, 1.5), (-0.1, 1.0, 1.0)]
)
def test_an_implicit_step_minimizes_the_loss_plus_the_change(
    loss: Loss, slack: float, rate: float, square: float
) -> None:
    steps = np.linspace(0, 3, 300_001)
    losses = loss.value(torch.from_numpy(slack - steps * square)).numpy()
    best = steps[(rate * losses + steps**2 * square / 2).argmin()]
    (step,) = loss.implicit_step(np.array([slack]), np.array([rate]), square)
    assert step == pytest.approx(best, abs=2e-5)
