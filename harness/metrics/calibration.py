"""Scores as probabilities: log-probabilities as they are, margins by a softmax at a temperature fitted to the tune scores."""

from __future__ import annotations

import numpy as np

from harness.runs.result import Scores

NORMALIZED = 1e-3  # how far from 0 the logarithm of a sum of float32 probabilities may lie


def logsumexp(rows: np.ndarray) -> np.ndarray:
    """(n,) of (n, classes); -inf for a row of nothing else."""
    with np.errstate(divide="ignore"):
        highest = np.where(np.isfinite(rows).any(axis=1), rows.max(axis=1), 0)
        return highest + np.log(np.exp(rows - highest[:, None]).sum(axis=1))


def are_log_probabilities(scores: np.ndarray) -> bool:
    """Seen from the scores, (n, classes): exponentials of log-probabilities sum to 1. Rows of -inf, undecodable images, do not count."""
    sums = logsumexp(scores[np.isfinite(scores).any(axis=1)].astype(np.float64))
    return bool(np.abs(sums).max(initial=0) < NORMALIZED)


def fitted_sharpness(scores: Scores) -> float:
    """The b for which softmax(b * margins) makes the labels likeliest: 1 over the temperature of Guo et al. 2017.

    As if one image more had any of the labels alike, so that b stays finite where every label is right already (as Platt 1999 does). A
    class without images says nothing of the unit: its margins may be as low as can be.
    """
    from scipy.optimize import minimize_scalar

    margins = scores.scores[np.isfinite(scores.scores).all(axis=1)].astype(np.float64)
    labels = scores.labels[np.isfinite(scores.scores).all(axis=1)]
    known = margins[:, np.unique(labels)]
    unit = 1 / (known.std() or 1.0)
    true, mean = margins[np.arange(len(labels)), labels], known.mean(axis=1)

    def loss(log_b: float) -> float:
        b = unit * np.exp(log_b)
        total = logsumexp(b * margins)
        return float((total - b * true).sum() + (total - b * mean).mean())

    return float(unit * np.exp(minimize_scalar(loss, bounds=(-10, 10), method="bounded").x))
