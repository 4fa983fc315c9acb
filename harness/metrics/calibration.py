"""Probabilities from scores: log-probabilities as they are, margins by a fitted temperature."""

from __future__ import annotations

import numpy as np

from harness.runs.result import Scores

# How far from 0 the logarithm of a sum of float32 probabilities may lie.
LOG_SUM_TOLERANCE = 1e-3
LOG_SEARCH_BOUNDS = (-10, 10)  # of the inverse temperature, relative to the spread of the margins


def logsumexp(rows: np.ndarray) -> np.ndarray:
    """Return log(sum(exp(row))) of each row; -inf for a row of -inf.

    Parameters
    ----------
    rows : (n, classes) float

    Returns
    -------
    (n,) float
    """
    with np.errstate(divide="ignore"):
        highest = np.where(np.isfinite(rows).any(axis=1), rows.max(axis=1), 0)
        return highest + np.log(np.exp(rows - highest[:, None]).sum(axis=1))


def are_log_probabilities(scores: np.ndarray) -> bool:
    """Return whether the exponentials of every row sum to 1.

    Rows of -inf, which stand for images that could not be decoded, are ignored.

    Parameters
    ----------
    scores : (n, classes) float32
    """
    sums = logsumexp(scores[np.isfinite(scores).any(axis=1)].astype(np.float64))
    return bool(np.abs(sums).max(initial=0) < LOG_SUM_TOLERANCE)


def fit_temperature(scores: Scores) -> float:
    """Fit the temperature t for which softmax(margins / t) gives the labels the highest likelihood.

    Temperature scaling is that of Guo et al. 2017. The likelihood counts one more image that has
    each label with equal probability, so that t stays positive where every label is right already
    (as Platt 1999 does). Classes without images are left out of the unit of the search, since
    nothing bounds their margins.

    Parameters
    ----------
    scores : Scores
        Margins of the tune split; rows with an infinite score are ignored.

    Returns
    -------
    float
    """
    from scipy.optimize import minimize_scalar

    finite = np.isfinite(scores.scores).all(axis=1)
    margins, labels = scores.scores[finite].astype(np.float64), scores.labels[finite]
    seen = margins[:, np.unique(labels)]
    unit = 1 / (seen.std() or 1.0)
    true_margins = margins[np.arange(len(labels)), labels]
    mean_margins = seen.mean(axis=1)

    def loss(log_inverse: float) -> float:
        inverse = unit * np.exp(log_inverse)
        total = logsumexp(inverse * margins)
        extra_image = (total - inverse * mean_margins).mean()
        return float((total - inverse * true_margins).sum() + extra_image)

    best = minimize_scalar(loss, bounds=LOG_SEARCH_BOUNDS, method="bounded").x
    return float(1 / (unit * np.exp(best)))
