from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

from harness.errors import UserError
from harness.metrics.errors import errors, metrics, ranks
from harness.runs.result import Scores


def some_scores(n: int = 9000, classes: int = 20, seed: int = 0) -> Scores:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    values = rng.normal(size=(n, classes)).astype(np.float32)
    values[np.arange(n), labels] += 1
    return Scores(np.array([f"{i:016x}" for i in range(n)]), labels, values)


def test_errors_agree_with_scikit_learn() -> None:
    scores = some_scores()
    found = dict(metrics(scores))
    for k, name in ((1, "top1_error"), (5, "top5_error")):
        oracle = top_k_accuracy_score(scores.labels, scores.scores, k=k, labels=np.arange(20))
        assert found[name] == pytest.approx(100 * (1 - oracle), abs=1e-9)
    balanced = balanced_accuracy_score(scores.labels, scores.scores.argmax(1))
    assert found["mean_class_error"] == pytest.approx(100 * (1 - balanced), abs=1e-9)


def test_constant_scores_are_all_wrong() -> None:
    scores = some_scores()
    constant = Scores(scores.keys, scores.labels, np.zeros_like(scores.scores))
    assert dict(metrics(constant)) == {
        "top1_error": 100.0,
        "top5_error": 100.0,
        "mean_class_error": 100.0,
    }


def test_ties_count_against_the_pipeline() -> None:
    assert ranks(np.array([[1.0, 1.0, 0.0], [2.0, 1.0, 1.0]]), np.array([0, 0])).tolist() == [1, 0]


def test_a_row_that_could_not_be_scored_is_wrong() -> None:
    row = np.full((1, 6), -np.inf, dtype=np.float32)
    assert ranks(row, np.array([2])).tolist() == [5]


def test_nan_is_an_error() -> None:
    scores = some_scores(10)
    scores.scores[3, 4] = np.nan
    with pytest.raises(UserError, match="NaN scores for 1 of 10"):
        list(metrics(scores))


def test_top5_of_few_classes_is_none() -> None:
    assert dict(metrics(some_scores(classes=5)))["top5_error"] is None


@pytest.mark.parametrize("classes", [5, 20])
def test_intervals_are_wilsons(classes: int) -> None:
    scores = some_scores(300, classes)
    found = errors(scores)
    assert {name: found[name] for name, _ in metrics(scores)} == dict(metrics(scores))
    for name in ("top1_error", "top5_error"):
        value, interval = found[name], (found[f"{name}_ci_low"], found[f"{name}_ci_high"])
        if value is None:
            assert interval == (None, None)
        else:
            oracle = binomtest(round(value * 3), 300).proportion_ci(method="wilson")
            assert interval == pytest.approx((100 * oracle.low, 100 * oracle.high))


def test_without_scores_every_error_is_none() -> None:
    assert errors(None) == dict.fromkeys(errors(some_scores()))
