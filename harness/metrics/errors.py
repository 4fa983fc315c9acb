"""Error rates from saved scores, in percent. Ties count against the pipeline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.data.copies import are_repeats
from harness.errors import UserError
from harness.metrics.intervals import wilson
from harness.runs.result import Copies, Estimate, Scores

CHUNK = 4096  # rows at a time, so that 100,000 x 1,000 scores need no second copy
MIN_CLASSES_FOR_TOP5 = 6


@dataclass(frozen=True)
class Errors:
    """The errors of one split in percent; a figure that cannot be computed is None."""

    top1_error: Estimate | None = None
    top5_error: Estimate | None = None
    mean_class_error: float | None = None
    copies: Copies | None = None


def measure_errors(scores: Scores | None) -> Errors:
    """Compute top-1 and top-5 error with Wilson intervals, and the mean error over classes.

    Parameters
    ----------
    scores : Scores or None
        None, for a run without a test split, gives no figure at all.

    Returns
    -------
    Errors
        Without a top-5 error below `MIN_CLASSES_FOR_TOP5` classes, and without copies where it is
        not on record which images are in train.

    Raises
    ------
    UserError
        If a score is NaN.
    """
    if scores is None:
        return Errors()
    rank = ranks(scores.scores, scores.labels)
    has_top5 = scores.scores.shape[1] >= MIN_CLASSES_FOR_TOP5
    return Errors(
        top1_error=error_rate(rank >= 1),
        top5_error=error_rate(rank >= 5) if has_top5 else None,
        mean_class_error=mean_class_error(rank >= 1, scores.labels),
        copies=_count_copies(scores, rank, has_top5),
    )


def _count_copies(scores: Scores, rank: np.ndarray, has_top5: bool) -> Copies | None:
    """Count the images that are also in train, or repeated, and measure the errors without."""
    if scores.in_train is None:
        return None
    repeats = are_repeats(scores.keys)
    rest = rank[~(scores.in_train | repeats)]
    is_different = 0 < len(rest) < len(rank)
    return Copies(
        in_train=int(scores.in_train.sum()),
        repeats=int(repeats.sum()),
        n=len(rest),
        top1_error=error_rate(rest >= 1) if is_different else None,
        top5_error=error_rate(rest >= 5) if is_different and has_top5 else None,
    )


def ranks(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Count for each image the other classes that score at least as high as the true one.

    Rank 0 is right; constant scores are wrong for every image.

    Parameters
    ----------
    scores : (n, classes) float32
    labels : (n,) int64

    Returns
    -------
    (n,) int64

    Raises
    ------
    UserError
        If a score is NaN.
    """
    rank = np.empty(len(labels), dtype=np.int64)
    for start in range(0, len(labels), CHUNK):
        rows, truth = scores[start : start + CHUNK], labels[start : start + CHUNK]
        if bad := int(np.isnan(rows).any(axis=1).sum()):
            raise UserError(f"the pipeline gave NaN scores for {bad} of {len(rows)} images")
        true_scores = rows[np.arange(len(rows)), truth, None]
        rank[start : start + CHUNK] = (rows >= true_scores).sum(axis=1) - 1
    return rank


def top_k_wrong(scores: Scores, k: int) -> np.ndarray:
    """Return (n,) bool: whether the true class is missing from the k highest scores."""
    return ranks(scores.scores, scores.labels) >= k


def error_rate(wrong: np.ndarray) -> Estimate:
    """Return the share of True in `wrong`, (n,) bool, in percent with its 95 % Wilson interval."""
    interval = wilson(int(wrong.sum()), len(wrong))
    return Estimate(100 * float(wrong.mean()), interval.in_percent())


def mean_class_error(wrong: np.ndarray, labels: np.ndarray) -> float:
    """Return the unweighted mean over the classes present of each class's error, in percent."""
    n = np.bincount(labels)
    n_wrong = np.bincount(labels, weights=wrong)
    return 100 * float((n_wrong[n > 0] / n[n > 0]).mean())
