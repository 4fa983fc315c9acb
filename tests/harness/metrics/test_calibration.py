"""Log-probabilities are recognized, and margins get the temperature that fits the labels best."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax

from harness.metrics.calibration import are_log_probabilities, fit_temperature, logsumexp
from harness.runs.result import Scores


def margins_of(labels: np.ndarray, margins: np.ndarray) -> Scores:
    keys = np.array([f"{i:016x}" for i in range(len(labels))])
    return Scores(keys, labels, margins.astype(np.float32))


def random_margins(n: int = 40, classes: int = 6, seed: int = 0) -> Scores:
    rng = np.random.default_rng(seed)
    return margins_of(np.arange(n) % classes, rng.normal(size=(n, classes)))


def test_log_probabilities_are_told_from_margins() -> None:
    margins = random_margins().scores
    logs = log_softmax(margins, axis=1).astype(np.float32)
    assert are_log_probabilities(logs)
    assert not are_log_probabilities(margins)


def test_rows_that_could_not_be_decoded_do_not_hide_log_probabilities() -> None:
    logs = log_softmax(random_margins().scores, axis=1).astype(np.float32)
    logs[3] = -np.inf
    assert are_log_probabilities(logs)
    assert logsumexp(logs)[3] == -np.inf


@pytest.mark.parametrize("temperature", [1 / 3, 2.0])
def test_the_temperature_of_random_labels_is_recovered(temperature: float) -> None:
    """The labels are drawn from softmax(margins / temperature)."""
    rng = np.random.default_rng(0)
    margins = rng.normal(size=(20_000, 4)).astype(np.float32)
    gumbel = rng.gumbel(size=margins.shape)  # the argmax of logits + Gumbel noise is a sample
    labels = (margins / temperature + gumbel).argmax(1)
    assert fit_temperature(margins_of(labels, margins)) == pytest.approx(temperature, rel=0.05)


def test_the_temperature_is_positive_where_every_label_is_right() -> None:
    labels = np.arange(40) % 6
    assert 1 / 20 < fit_temperature(margins_of(labels, np.eye(6)[labels])) < 1


def test_the_temperature_of_constant_margins_is_finite() -> None:
    labels = np.arange(40) % 6
    assert np.isfinite(fit_temperature(margins_of(labels, np.zeros((40, 6)))))


def test_the_temperature_ignores_a_class_without_images() -> None:
    scores = random_margins()
    never = np.full((len(scores), 1), -1e6)
    wider = margins_of(scores.labels, np.hstack([scores.scores, never]))
    assert fit_temperature(wider) == pytest.approx(fit_temperature(scores))
