"""Error rates from saved scores. All are in percent, and the rank of the true class counts ties against the pipeline."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.errors import UserError
from harness.metrics.intervals import wilson
from harness.runs.result import Scores

CHUNK = 4096  # rows at a time, so that 100,000 x 1,000 scores need no second copy


def ranks(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(n,) how many other classes score at least as high as the true one: 0 is right, and constant scores are wrong.

    Raises UserError for NaN.
    """
    found = np.empty(len(labels), dtype=np.int64)
    for start in range(0, len(labels), CHUNK):
        rows, truth = scores[start : start + CHUNK], labels[start : start + CHUNK]
        if np.isnan(rows).any():
            raise UserError(
                f"the pipeline gave NaN scores for {int(np.isnan(rows).any(axis=1).sum())} of {len(rows)} images"
            )
        found[start : start + CHUNK] = (rows >= rows[np.arange(len(rows)), truth, None]).sum(
            axis=1
        ) - 1
    return found


def top_k_wrong(scores: Scores, k: int) -> np.ndarray:
    """(n,) bool: the true class is not among the k highest."""
    return ranks(scores.scores, scores.labels) >= k


def metrics(scores: Scores) -> Iterator[tuple[str, float | None]]:
    """(name, value) for each error; top-5 error of fewer than six classes is None."""
    rank = ranks(scores.scores, scores.labels)
    classes = scores.scores.shape[1]
    wrong = rank >= 1
    yield "top1_error", 100 * float(wrong.mean())
    yield "top5_error", 100 * float((rank >= 5).mean()) if classes > 5 else None
    n = np.bincount(scores.labels, minlength=classes)
    n_wrong = np.bincount(scores.labels, weights=wrong, minlength=classes)
    yield "mean_class_error", 100 * float((n_wrong[n > 0] / n[n > 0]).mean())


def errors(scores: Scores | None) -> dict[str, float | None]:
    """The three errors, and of top-1 and top-5 the 95 % Wilson interval as `..._ci_low` and `..._ci_high`; all None without scores."""
    known = dict(metrics(scores)) if scores else {}
    found: dict[str, float | None] = {
        name: known.get(name) for name in ("top1_error", "top5_error", "mean_class_error")
    }
    for name in ("top1_error", "top5_error"):
        low, high, value = None, None, found[name]
        if scores and value is not None:
            low, high = (
                100 * share for share in wilson(round(value * len(scores) / 100), len(scores))
            )
        found |= {f"{name}_ci_low": low, f"{name}_ci_high": high}
    return found
