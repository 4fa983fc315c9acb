"""Where two classifiers differ on one test split: by class, by confusion, image by image. Reads run folders only.

Of every run the five likeliest classes of each image are kept and the scores let go, so that 100,000 x 1,000 scores are in memory once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.metrics.calibration import are_log_probabilities, fitted_sharpness, logsumexp
from harness.metrics.errors import CHUNK, ranks
from harness.metrics.intervals import paired_bootstrap
from harness.runs.record import Record
from harness.runs.result import Scores

TOP = 5
TEMPERATURE_IMAGES = 5000  # of tune, that the temperature of margins is fitted to; it is one number
CLASS_RESAMPLES = 2000
NORMAL_QUARTILES = 1.349  # standard deviations between the quartiles of a normal variable
LOG_PROBABILITIES = "probabilities, as the pipeline gives them"
FITTED = "margins as probabilities: a softmax at the temperature that fits the tune labels best"
UNFITTED = "a softmax of margins at a temperature of our own, as there are no tune scores to fit one to: an order more than a probability"


@dataclass(frozen=True)
class Answers:
    """What a run says of each test image, in order of key, so that those of several runs are about the same image.

    keys (n,), labels (n,); rank (n,): how many other classes score at least as high as the true one, 0 is right
    tied (n,): the true class shares the first place with others, which is an error
    top (n, k), probability (n, k): the likeliest classes, the first the likeliest, k at most TOP; `meaning`: of the probabilities
    readable (n,): False for an image that could not be decoded, of which there are no answers
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
    """One class: its test images, both errors in percent, and B's minus A's in points with its paired 95 % interval."""

    label: int
    n: int
    a_error: float
    b_error: float
    delta: float
    low: float
    high: float


@dataclass(frozen=True)
class Confusion:
    """How many of the `n` test images of class `label` were taken for class `predicted`."""

    label: int
    predicted: int
    count: int
    n: int


@dataclass(frozen=True)
class Cells:
    """The paired table: positions of the test images that both, only one, or neither of A and B gets right, in order of key.

    Keys are hashes of content, so the first of a cell are as good as drawn at random, and the same on every machine.
    """

    both: np.ndarray
    only_a: np.ndarray
    only_b: np.ndarray
    neither: np.ndarray


def answers(record: Record) -> Answers:
    """Of the test split. Raises UserError when the scores are missing or damaged."""
    scores = record.scores()
    sharpness, meaning = _sharpness(record, scores)
    n, classes = scores.scores.shape
    k = min(TOP, classes)
    top, probability, readable = (
        np.empty((n, k), np.int32),
        np.empty((n, k), np.float32),
        np.empty(n, bool),
    )
    rank = ranks(scores.scores, scores.labels)
    tied = rank > 0
    for start in range(0, n, CHUNK):
        chunk = slice(start, start + CHUNK)
        rows = scores.scores[chunk]
        # The partition is over a copy of the positions alone; ties go to the lower class, as argmax has them.
        best = (
            np.argpartition(-rows, k - 1, axis=1)[:, :k]
            if k < classes
            else np.tile(np.arange(classes), (len(rows), 1))
        )
        values = np.take_along_axis(rows, best, axis=1)
        order = np.lexsort((best, -values), axis=1)
        top[chunk] = np.take_along_axis(best, order, axis=1)
        readable[chunk] = np.isfinite(rows).any(axis=1)
        tied[chunk] &= rows[np.arange(len(rows)), scores.labels[chunk]] == rows.max(axis=1)
        with np.errstate(invalid="ignore"):  # a row of -inf has no probabilities
            logs = (
                np.take_along_axis(values, order, axis=1) * sharpness
                - logsumexp(rows * np.float32(sharpness))[:, None]
            )
        probability[chunk] = np.exp(np.where(readable[chunk, None], logs, -np.inf))
    order = np.argsort(scores.keys)
    return Answers(
        scores.keys[order], scores.labels[order], rank[order], tied[order], top[order], probability[order], readable[order], meaning
    )  # fmt: skip


def cells(a: Answers, b: Answers) -> Cells:
    def where(found: np.ndarray) -> np.ndarray:
        return np.flatnonzero(found)

    return Cells(
        where(a.right & b.right),
        where(a.right & ~b.right),
        where(~a.right & b.right),
        where(~a.right & ~b.right),
    )


def class_deltas(a: Answers, b: Answers) -> list[ClassDelta]:
    """Of the classes that have test images, those in which B gains most first."""
    found = []
    for label in np.unique(a.labels).tolist():
        of = a.labels == label
        wrong_a, wrong_b = ~a.right[of], ~b.right[of]
        difference = wrong_b.astype(float) - wrong_a
        low, high = paired_bootstrap(difference, resamples=CLASS_RESAMPLES)
        errors = (100 * float(wrong_a.mean()), 100 * float(wrong_b.mean()))
        found.append(
            ClassDelta(label, int(of.sum()), *errors, errors[1] - errors[0], 100 * low, 100 * high)
        )
    return sorted(found, key=lambda each: (each.delta, each.label))


def confusions(given: Answers) -> list[Confusion]:
    """Every pair of a class and another that some of its images were taken for, the most frequent first.

    Ties in which the true class shares the first place, and images that could not be decoded, are errors but no confusion.
    """
    taken = ~given.right & given.readable & ~given.tied
    pairs, counts = np.unique(
        np.stack([given.labels[taken], given.predicted[taken]]), axis=1, return_counts=True
    )
    n = np.bincount(given.labels)
    found = [
        Confusion(label, predicted, count, int(n[label])) for (label, predicted), count in zip(pairs.T.tolist(), counts.tolist(), strict=True)
    ]  # fmt: skip
    return sorted(found, key=lambda each: (-each.count, each.label, each.predicted))


def confident_mistakes(given: Answers, most: int) -> np.ndarray:
    """Positions of the wrong answers that were given with the highest probability, the highest first."""
    wrong = np.flatnonzero(~given.right & given.readable)
    return wrong[np.argsort(-given.probability[wrong, 0], kind="stable")[:most]]


def examples(found: Cells, each: int) -> np.ndarray:
    """Positions of `each` images of every cell, the first by key; of a cell with fewer, all."""
    return np.concatenate(
        [cell[:each] for cell in (found.only_b, found.only_a, found.neither, found.both)]
    )


def _sharpness(record: Record, scores: Scores) -> tuple[float, str]:
    """(what scores are multiplied by before their softmax, what that makes of them)."""
    if are_log_probabilities(scores.scores[:CHUNK]):
        return 1.0, LOG_PROBABILITIES
    if (record.folder / "tune_scores.npz").exists():
        tune = record.scores("tune_scores")
        chosen = np.argsort(tune.keys)[:TEMPERATURE_IMAGES]
        return fitted_sharpness(
            Scores(tune.keys[chosen], tune.labels[chosen], tune.scores[chosen])
        ), FITTED
    finite = scores.scores[:CHUNK][np.isfinite(scores.scores[:CHUNK])]
    # By quartiles, in which a class without training images, whose margins are as low as can be, does not count.
    spread = (
        float(np.subtract(*np.percentile(finite, [75, 25]))) / NORMAL_QUARTILES
        if len(finite)
        else 0.0
    )
    return 1 / (spread or 1.0), UNFITTED


def same_seed(groups: Sequence[Sequence[Record]]) -> list[Record]:
    """One run a row: of the lowest seed that all rows have, else each row's first."""
    common = set.intersection(*({record.result.seed for record in group} for group in groups))
    chosen = min(common, default=None)
    return [
        next((record for record in group if record.result.seed == chosen), group[0])
        for group in groups
    ]
