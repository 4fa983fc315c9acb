"""Our solution is compared with the best objective that either side finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import svm_speed
from benchmarks.svm_speed import compare_on_class, fit_ours, generate_rows, objective


@pytest.fixture
def small_problem(monkeypatch: pytest.MonkeyPatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and labels of 3 classes with 60 features."""
    for name, value in {"CLASSES": 3, "ROWS_PER_CLASS": 10, "FEATURES": 60}.items():
        monkeypatch.setattr(svm_speed, name, value)
    return generate_rows()


def test_our_objective_is_as_low_as_that_of_linear_svc(
    small_problem: tuple[torch.Tensor, torch.Tensor],
) -> None:
    rows, labels = small_problem
    assert rows.norm(dim=1).numpy() == pytest.approx(np.ones(30), rel=1e-5)
    weights, biases = fit_ours(rows, labels)
    doubles = rows.double().numpy()
    for number in range(3):
        signs = np.where(labels.numpy() == number, 1.0, -1.0)
        ours = objective(weights[number].double().numpy(), float(biases[number]), doubles, signs)
        comparison = compare_on_class(ours, doubles, signs)
        assert comparison.our_excess <= svm_speed.MAX_EXCESS
        assert comparison.excess <= svm_speed.MAX_EXCESS
        assert comparison.seconds > 0


def test_the_objective_counts_slack_and_regularizes_the_bias() -> None:
    """Half of the squared norm, including the bias, plus C = 10 times the squared slack."""
    rows, signs = np.array([[1.0], [1.0]]), np.array([1.0, -1.0])
    assert objective(np.array([2.0]), 1.0, rows, signs) == (4 + 1) / 2 + 10 * (1 + 3) ** 2
