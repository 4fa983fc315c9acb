from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from harness.engine.context import RunContext
from pipelines.handcrafted.classifiers.linear_svm import UNSEEN_CLASS_MARGIN
from pipelines.handcrafted.fusion import fusion_weights

CLASSES = 2


def scores(strengths: list[float], n: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scores of classifiers whose true class has this mean above noise of deviation 1."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (n,), generator=generator)
    truth = torch.nn.functional.one_hot(labels, CLASSES).float()
    return torch.stack(
        [s * truth + torch.randn(n, CLASSES, generator=generator) for s in strengths]
    ), labels


def test_weights_equal_those_of_logistic_regression_on_the_margins() -> None:
    margins, labels = scores([2.0, 1.0, 0.5])
    differences = (margins[:, :, 1] - margins[:, :, 0]).T.numpy()
    oracle = (
        LogisticRegression(C=1e9, fit_intercept=False, tol=1e-10)
        .fit(differences, labels.numpy())
        .coef_[0]
    )
    torch.testing.assert_close(
        fusion_weights(margins, labels, RunContext()),
        torch.tensor(oracle / oracle.sum()).float(),
        atol=1e-3,
        rtol=0,
    )


def test_a_classifier_that_is_worse_than_chance_gets_no_weight() -> None:
    margins, labels = scores([2.0, -1.0])
    assert fusion_weights(margins, labels, RunContext())[1] < 0.01


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_the_unit_of_the_scores_does_not_matter(scale: float) -> None:
    margins, labels = scores([2.0, 1.0])
    torch.testing.assert_close(
        fusion_weights(margins * scale, labels, RunContext()),
        fusion_weights(margins, labels, RunContext()),
        atol=1e-3,
        rtol=0,
    )


def test_a_class_without_training_images_does_not_change_the_weights() -> None:
    margins, labels = scores([2.0, 1.0])
    never = torch.full((2, len(labels), 1), UNSEEN_CLASS_MARGIN)
    torch.testing.assert_close(
        fusion_weights(torch.cat([margins, never], dim=2), labels, RunContext()),
        fusion_weights(margins, labels, RunContext()),
    )


@pytest.mark.parametrize("classes", [1, 2])
def test_scores_that_are_all_zero_weigh_the_same(classes: int) -> None:
    """So they are on images of one color, in which nothing varies."""
    labels = torch.arange(6) % classes
    weights = fusion_weights(torch.zeros(2, 6, classes), labels, RunContext())
    assert weights.tolist() == [0.5, 0.5]


def test_scores_of_unseen_classes_alone_weigh_the_same() -> None:
    scores = torch.full((2, 3, 1), UNSEEN_CLASS_MARGIN)
    weights = fusion_weights(scores, torch.zeros(3, dtype=torch.int64), RunContext())
    assert weights.tolist() == [0.5, 0.5]
