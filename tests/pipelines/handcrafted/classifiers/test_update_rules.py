from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import PassiveAggressiveClassifier
from torch import Tensor

from pipelines.handcrafted.classifiers.loss import Loss
from pipelines.handcrafted.classifiers.update_rules import (
    ImplicitSGD,
    PassiveAggressive,
    UpdatedWeights,
)


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    """(400, 64) centered rows of length 1, in random order, and their labels."""
    features, labels = load_digits(return_X_y=True)
    rows = torch.from_numpy(features - features.mean(0)).float()
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:400]
    return (rows / rows.norm(dim=1, keepdim=True))[order], torch.from_numpy(labels)[order]


def test_a_batch_updates_as_its_rows_one_after_the_other(digits: tuple[Tensor, Tensor]) -> None:
    """Weights and their mean equal those of the textbook's loop over rows, with a decay."""
    rows, labels = (values[:30] for values in digits)

    def make_rule() -> ImplicitSGD:
        return ImplicitSGD(Loss(0.0), regularization=0.1, first_rate=0.5)

    model = UpdatedWeights(10, rows.shape[1], rows)
    model.see(rows, labels, make_rule())
    rule, weights, total = make_rule(), np.zeros((10, rows.shape[1])), 0.0
    for row, label in zip(rows.double().numpy(), labels.tolist(), strict=True):
        change, decay = rule(0, weights @ row, label, float(row @ row))
        weights = decay * weights + change[:, None] * row
        total = total + weights
    np.testing.assert_allclose(model.weights.numpy(), weights, atol=1e-5)
    np.testing.assert_allclose(model.mean.numpy(), total / 30, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Class PassiveAggressiveClassifier is deprecated")
def test_passive_aggressive_one_vs_rest_equals_scikit_learn(digits: tuple[Tensor, Tensor]) -> None:
    rows, labels = digits
    ours, rule = UpdatedWeights(10, rows.shape[1], rows), PassiveAggressive(0.1, one_vs_rest=True)
    for batch_rows, batch_labels in zip(rows.split(64), labels.split(64), strict=True):
        ours.see(batch_rows, batch_labels, rule)
    for k in range(10):
        theirs = PassiveAggressiveClassifier(
            C=0.1, fit_intercept=False, shuffle=False, max_iter=1, tol=None
        )
        theirs.fit(rows.numpy(), (labels == k).numpy())
        np.testing.assert_allclose(ours.weights[k].numpy(), theirs.coef_[0], atol=1e-5)


MARGINS = np.array([0.2, 0.5, -1.0])


def test_a_passive_aggressive_step_gives_a_margin_of_1_over_the_best_other_class() -> None:
    change, decay = PassiveAggressive(10.0)(0, MARGINS, 0, 2.0)
    np.testing.assert_allclose(MARGINS + 2.0 * change, [0.85, -0.15, -1.0])
    assert decay == 1


def test_a_passive_aggressive_step_is_bounded_by_the_aggressiveness() -> None:
    change, _ = PassiveAggressive(0.01)(0, MARGINS, 0, 2.0)
    assert change.tolist() == [0.01, -0.01, 0.0]


def test_a_row_with_enough_margin_changes_nothing() -> None:
    assert not PassiveAggressive(10.0)(0, np.array([1.6, 0.5, -1.0]), 0, 2.0)[0].any()
