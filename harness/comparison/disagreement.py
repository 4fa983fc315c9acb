"""Where two classifiers differ on one test split: by class, by confusion, image by image.

Reads run folders only. For every run the five likeliest classes of each image are kept and the
scores released, so that 100,000 x 1,000 scores are in memory only once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.metrics.calibration import are_log_probabilities, fit_temperature, logsumexp
from harness.metrics.errors import CHUNK, ranks
from harness.metrics.intervals import paired_bootstrap
from harness.runs.record import Record
from harness.runs.result import Interval, Scores

TOP = 5
TEMPERATURE_IMAGES = 5000  # of tune: enough to fit one number
CLASS_RESAMPLES = 2000
NORMAL_QUARTILES = 1.349  # standard deviations between the quartiles of a normal variable
LOG_PROBABILITIES = "probabilities, as the pipeline gives them"
FITTED = "margins as probabilities: a softmax at the temperature that fits the tune labels best"
UNFITTED = (
    "a softmax of margins at a temperature that is not fitted, as there are no tune scores: "
    "an order more than a probability"
)


@dataclass(frozen=True)
class Predictions:
    """What a run predicts for each test image, in order of key, so that runs can be paired.

    Parameters
    ----------
    keys : (n,) str
    labels : (n,) int64
    rank : (n,) int64
        How many other classes score at least as high as the true one; 0 is right.
    tied : (n,) bool
        The true class shares the first place with others, which counts as an error.
    top : (n, k) int32
        The k likeliest classes, the likeliest first; k is at most TOP.
    probability : (n, k) float32
        Their probabilities.
    readable : (n,) bool
        False for an image that could not be decoded, which has no prediction.
    meaning : str
        What the probabilities are.
    """

    keys: np.ndarray
    labels: np.ndarray
    rank: np.ndarray
    tied: np.ndarray
    top: np.ndarray
    probability: np.ndarray
    readable: np.ndarray
    meaning: str

    @property
    def right(self) -> np.ndarray:
        return self.rank == 0

    @property
    def predicted(self) -> np.ndarray:
        return self.top[:, 0]


@dataclass(frozen=True)
class ClassDelta:
    """Errors of one class: those of A and B in percent, B's minus A's in points.

    Parameters
    ----------
    label : int
    n : int
        Test images of the class.
    a_error, b_error : float
    delta : float
    interval : Interval
        Paired 95 % interval of the delta.
    """

    label: int
    n: int
    a_error: float
    b_error: float
    delta: float
    interval: Interval


@dataclass(frozen=True)
class Confusion:
    """How many of the `n` test images of class `label` were taken for class `predicted`."""

    label: int
    predicted: int
    count: int
    n: int


@dataclass(frozen=True)
class Contingency:
    """The cells of the paired table: positions of test images, in order of key.

    Keys are hashes of content, so the first images of a cell are as good as a random sample, and
    the same on every machine.

    Parameters
    ----------
    both, only_a, only_b, neither : (m,) int64
        Positions of the images that both, only one, or neither of A and B gets right.
    """

    both: np.ndarray
    only_a: np.ndarray
    only_b: np.ndarray
    neither: np.ndarray


def predictions(record: Record) -> Predictions:
    """Return the predictions of a run for the test split.

    Raises
    ------
    UserError
        If the scores are missing or damaged.
    """
    scores = record.scores()
    temperature, meaning = _temperature(record, scores)
    n, classes = scores.scores.shape
    k = min(TOP, classes)
    top, probability = np.empty((n, k), np.int32), np.empty((n, k), np.float32)
    readable = np.empty(n, bool)
    rank = ranks(scores.scores, scores.labels)
    tied = rank > 0
    for start in range(0, n, CHUNK):
        chunk = slice(start, start + CHUNK)
        rows = scores.scores[chunk]
        top[chunk], values = _top(rows, k)
        readable[chunk] = np.isfinite(rows).any(axis=1)
        tied[chunk] &= rows[np.arange(len(rows)), scores.labels[chunk]] == rows.max(axis=1)
        with np.errstate(invalid="ignore"):  # a row of -inf has no probabilities
            logs = values / temperature - logsumexp(rows / np.float32(temperature))[:, None]
        probability[chunk] = np.exp(np.where(readable[chunk, None], logs, -np.inf))
    order = np.argsort(scores.keys)
    return Predictions(
        keys=scores.keys[order],
        labels=scores.labels[order],
        rank=rank[order],
        tied=tied[order],
        top=top[order],
        probability=probability[order],
        readable=readable[order],
        meaning=meaning,
    )


def _top(rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k highest classes of each row and their scores; ties go to the lower class."""
    if k < rows.shape[1]:
        best = np.argpartition(-rows, k - 1, axis=1)[:, :k]
    else:
        best = np.tile(np.arange(k), (len(rows), 1))
    values = np.take_along_axis(rows, best, axis=1)
    order = np.lexsort((best, -values), axis=1)
    return np.take_along_axis(best, order, axis=1), np.take_along_axis(values, order, axis=1)


def contingency(a: Predictions, b: Predictions) -> Contingency:
    """Return which images both, only one, or neither of two runs gets right."""
    return Contingency(
        both=np.flatnonzero(a.right & b.right),
        only_a=np.flatnonzero(a.right & ~b.right),
        only_b=np.flatnonzero(~a.right & b.right),
        neither=np.flatnonzero(~a.right & ~b.right),
    )


def class_deltas(a: Predictions, b: Predictions) -> list[ClassDelta]:
    """Return the classes that have test images, those in which B gains most first."""
    deltas = []
    for label in np.unique(a.labels).tolist():
        of_class = a.labels == label
        wrong_a, wrong_b = ~a.right[of_class], ~b.right[of_class]
        difference = wrong_b.astype(float) - wrong_a
        interval = paired_bootstrap(difference, resamples=CLASS_RESAMPLES).in_percent()
        a_error, b_error = 100 * float(wrong_a.mean()), 100 * float(wrong_b.mean())
        n = int(of_class.sum())
        delta = b_error - a_error
        deltas.append(ClassDelta(label, n, a_error, b_error, delta, interval))
    return sorted(deltas, key=lambda delta: (delta.delta, delta.label))


def confusions(run: Predictions) -> list[Confusion]:
    """Return every pair of a class and another that its images were taken for, by frequency.

    Ties in which the true class shares the first place, and images that could not be decoded, are
    errors but no confusion.
    """
    taken = ~run.right & run.readable & ~run.tied
    pairs, counts = np.unique(
        np.stack([run.labels[taken], run.predicted[taken]]), axis=1, return_counts=True
    )
    n = np.bincount(run.labels)
    found = [
        Confusion(label, predicted, count, int(n[label]))
        for (label, predicted), count in zip(pairs.T.tolist(), counts.tolist(), strict=True)
    ]
    return sorted(found, key=lambda pair: (-pair.count, pair.label, pair.predicted))


def confident_mistakes(run: Predictions, most: int) -> np.ndarray:
    """Return positions of the wrong predictions with the highest probability, highest first."""
    wrong = np.flatnonzero(~run.right & run.readable)
    return wrong[np.argsort(-run.probability[wrong, 0], kind="stable")[:most]]


def examples(table: Contingency, count: int) -> np.ndarray:
    """Return positions of the first `count` images, by key, of every cell."""
    cells = (table.only_b, table.only_a, table.neither, table.both)
    return np.concatenate([cell[:count] for cell in cells])


def _temperature(record: Record, scores: Scores) -> tuple[float, str]:
    """Return what divides the scores before their softmax, and what the result is."""
    if are_log_probabilities(scores.scores[:CHUNK]):
        return 1.0, LOG_PROBABILITIES
    if record.has_scores("tune_scores"):
        tune = record.scores("tune_scores")
        chosen = np.argsort(tune.keys)[:TEMPERATURE_IMAGES]
        subset = Scores(tune.keys[chosen], tune.labels[chosen], tune.scores[chosen])
        return fit_temperature(subset), FITTED
    finite = scores.scores[:CHUNK][np.isfinite(scores.scores[:CHUNK])]
    if not len(finite):
        return 1.0, UNFITTED
    # Quartiles ignore a class without training images, whose margins are as low as can be.
    low, high = np.percentile(finite, [25, 75])
    return (float(high - low) or NORMAL_QUARTILES) / NORMAL_QUARTILES, UNFITTED


def same_seed(groups: Sequence[Sequence[Record]]) -> list[Record]:
    """Return one run per row: of the lowest seed that all rows have, else each row's first."""
    common = set.intersection(*({record.result.seed for record in group} for group in groups))
    chosen = min(common, default=None)
    return [
        next((record for record in group if record.result.seed == chosen), group[0])
        for group in groups
    ]
