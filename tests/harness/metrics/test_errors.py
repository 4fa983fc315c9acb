"""Error rates against scikit-learn and scipy."""

from __future__ import annotations

from dataclasses import astuple, replace

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

from harness.errors import UserError
from harness.metrics.errors import Errors, measure_errors, ranks, top_k_wrong
from harness.runs.result import Copies, Estimate, Scores


def random_scores(n: int = 9000, classes: int = 20, seed: int = 0) -> Scores:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    values = rng.normal(size=(n, classes)).astype(np.float32)
    values[np.arange(n), labels] += 1
    return Scores(np.array([f"{i:016x}" for i in range(n)]), labels, values)


def test_errors_agree_with_scikit_learn() -> None:
    scores = random_scores()
    errors = measure_errors(scores)
    for k, estimate in ((1, errors.top1_error), (5, errors.top5_error)):
        oracle = top_k_accuracy_score(scores.labels, scores.scores, k=k, labels=np.arange(20))
        assert estimate
        assert estimate.value == pytest.approx(100 * (1 - oracle), abs=1e-9)
        assert top_k_wrong(scores, k).mean() == pytest.approx(1 - oracle)
    balanced = balanced_accuracy_score(scores.labels, scores.scores.argmax(1))
    assert errors.mean_class_error == pytest.approx(100 * (1 - balanced), abs=1e-9)


@pytest.mark.parametrize("classes", [6, 20])
def test_intervals_agree_with_scipy(classes: int) -> None:
    errors = measure_errors(random_scores(300, classes))
    for estimate in (errors.top1_error, errors.top5_error):
        assert estimate
        oracle = binomtest(round(estimate.value * 3), 300).proportion_ci(method="wilson")
        expected = (100 * oracle.low, 100 * oracle.high)
        assert astuple(estimate.interval) == pytest.approx(expected)


def test_constant_scores_are_wrong_for_every_image() -> None:
    scores = random_scores()
    errors = measure_errors(replace(scores, scores=np.zeros_like(scores.scores)))
    assert isinstance(errors.top1_error, Estimate)
    assert isinstance(errors.top5_error, Estimate)
    assert errors.top1_error.value == errors.top5_error.value == errors.mean_class_error == 100


def test_ties_count_against_the_pipeline() -> None:
    assert ranks(np.array([[1.0, 1.0, 0.0], [2.0, 1.0, 1.0]]), np.array([0, 0])).tolist() == [1, 0]


def test_a_row_that_could_not_be_scored_is_wrong() -> None:
    row = np.full((1, 6), -np.inf, dtype=np.float32)
    assert ranks(row, np.array([2])).tolist() == [5]


def test_nan_scores_are_refused() -> None:
    scores = random_scores(10)
    scores.scores[3, 4] = np.nan
    with pytest.raises(UserError, match="NaN scores for 1 of 10"):
        measure_errors(scores)


def test_fewer_than_six_classes_have_no_top5_error() -> None:
    assert measure_errors(random_scores(classes=5)).top5_error is None


def test_without_scores_there_is_no_error() -> None:
    assert measure_errors(None) == Errors(None, None, None)


def test_the_errors_without_copies_are_those_of_the_other_images() -> None:
    scores = random_scores(300)
    keys = scores.keys.astype("U24")
    keys[10:13] = [f"{keys[9]}-{number}" for number in (1, 2, 3)]
    in_train = np.arange(300) < 10  # the image that the three repeat is among them
    copies = measure_errors(replace(scores, keys=keys, in_train=in_train)).copies
    rest = measure_errors(Scores(keys[13:], scores.labels[13:], scores.scores[13:]))
    assert copies == Copies(10, 3, 287, rest.top1_error, rest.top5_error)


def test_without_copies_or_with_nothing_else_there_is_one_error_only() -> None:
    scores = random_scores(30)
    for in_train, n in ((np.zeros(30, bool), 30), (np.ones(30, bool), 0)):
        copies = measure_errors(replace(scores, in_train=in_train)).copies
        assert copies == Copies(int(in_train.sum()), 0, n, None, None)
    assert measure_errors(scores).copies is None
