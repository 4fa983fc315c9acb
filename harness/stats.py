"""Error bars and tests for error rates measured on one test split."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Z95 = 1.959963984540054  # two-sided 95 % of the normal distribution


def wilson(wrong: int, n: int, z: float = Z95) -> tuple[float, float]:
    """(low, high) of the Wilson score interval for wrong / n, as fractions (Wilson 1927)."""
    if n == 0:
        return 0.0, 1.0
    p = wrong / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def clopper_pearson(wrong: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """(low, high) of the exact interval for wrong / n, as fractions (Clopper and Pearson 1934): never covers less than it says."""
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = float(betaincinv(wrong, n - wrong + 1, tail)) if wrong else 0.0
    high = float(betaincinv(wrong + 1, n - wrong, 1 - tail)) if wrong < n else 1.0
    return low, high


def normal_interval(share: float, n: int, z: float = Z95) -> tuple[float, float]:
    """(low, high) of share -+ z standard errors, as fractions: the form that published intervals of large test sets follow."""
    half = z * math.sqrt(share * (1 - share) / n)
    return share - half, share + half


def fewer_errors(wrong_a: int, n_a: int, wrong_b: int, n_b: int) -> float:
    """One-sided p of the z-test of two proportions, pooled: that A errs less than B, the two on different images.

    For two classifiers on the same images `mcnemar` is the test. NaN where neither errs, or both always do: there is nothing to test.
    """
    pooled = (wrong_a + wrong_b) / (n_a + n_b)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n_a + 1 / n_b))
    return math.erfc((wrong_b / n_b - wrong_a / n_a) / error / math.sqrt(2)) / 2 if error else math.nan


def mcnemar(only_a_wrong: int, only_b_wrong: int) -> float:
    """Two-sided p of the exact McNemar test: of the discordant images, each side errs on half (Dietterich 1998)."""
    from scipy.special import bdtr

    discordant = only_a_wrong + only_b_wrong
    if discordant == 0:
        return 1.0
    return min(1.0, 2 * float(bdtr(min(only_a_wrong, only_b_wrong), discordant, 0.5)))


def paired_bootstrap(difference: np.ndarray, *, resamples: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of the mean of `difference`, (n,): per image, wrongness of B minus wrongness of A.

    Resampling images with replacement is a multinomial draw of how often each distinct value of the difference occurs.
    """
    values, counts = np.unique(difference, return_counts=True)
    n = len(difference)
    draws = np.random.default_rng(seed).multinomial(n, counts / n, size=resamples)
    low, high = np.quantile(draws @ values / n, [0.025, 0.975])
    return float(low), float(high)


def class_means(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(classes,) mean of `values`, (n,), over the images of each class that `labels`, (n,) from 0, has any of."""
    counts = np.bincount(labels)
    sums = np.bincount(labels, weights=values)
    return sums[counts > 0] / counts[counts > 0]


def bootstrap_within_classes(
    difference: np.ndarray, labels: np.ndarray, *, resamples: int = 2_000, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of the mean over the classes of the mean `difference`, (n,), of each: its images are resampled.

    The classes stay as they are: what other test images of these classes would show. For what other classes would,
    `paired_bootstrap(class_means(difference, labels))` resamples the classes.
    """
    rng = np.random.default_rng(seed)
    parts = np.split(difference[np.argsort(labels, kind="stable")], np.cumsum(np.bincount(labels))[:-1])
    parts = [part for part in parts if len(part)]
    means = np.zeros(resamples)
    for part in parts:
        values, counts = np.unique(part, return_counts=True)
        means += rng.multinomial(len(part), counts / len(part), size=resamples) @ values / len(part)
    low, high = np.quantile(means / len(parts), [0.025, 0.975])
    return float(low), float(high)


def seed_spread(wrong: np.ndarray) -> float | None:
    """Standard deviation of the error rate over seeds, as a fraction: what another training would change on these images.

    wrong  (seeds, n) bool. None for one seed: its spread is not known.
    """
    return float(wrong.mean(axis=1).std(ddof=1)) if len(wrong) > 1 else None


def sampling_spread(wrong: np.ndarray) -> float:
    """Standard error over the images of the mean error rate of the seeds, as a fraction: what other test images would change.

    wrong  (seeds, n) bool, or differences of two sides' wrongness, of the same images in each row. NaN for one image.
    """
    n = wrong.shape[1]
    return float(wrong.mean(axis=0).std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of several tests, adjusted so that calling those below alpha significant errs anywhere with chance alpha (Holm 1979)."""
    tests = len(p_values)
    adjusted, highest = [0.0] * tests, 0.0
    for place, index in enumerate(sorted(range(tests), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (tests - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def smallest_detectable(discordant: int, n: int, alpha: float = 0.05) -> float | None:
    """The smallest difference of two error rates, as a fraction, that exact McNemar calls significant on this split.

    Given how many of the n images the two sides disagree on; None when they disagree on too few for any outcome to be.
    """
    low, high = -1, discordant // 2  # p grows with the smaller count: find the largest one that is still significant
    while low < high:
        middle = (low + high + 1) // 2
        if mcnemar(middle, discordant - middle) < alpha:
            low = middle
        else:
            high = middle - 1
    return None if low < 0 else (discordant - 2 * low) / n
