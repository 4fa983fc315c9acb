"""Intervals and tests for error rates that were measured on one test split.

Everything here works on fractions of images, not on percent. The two binomial intervals are written
out instead of calling `scipy.stats.binomtest`, the oracle of their tests: importing scipy.stats
takes 650 ms of CPU time and scipy.special 180 ms, and `harness compare` should start at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness.runs.result import Interval

Z95 = 1.959963984540054  # two-sided 95 % of the normal distribution


def wilson(wrong: int, n: int, z: float = Z95) -> Interval:
    """Return the score interval for the fraction wrong / n (Wilson 1927).

    Parameters
    ----------
    wrong, n : int
        Wrong images, and all images; n = 0 gives the interval from 0 to 1.
    z : float
        Normal quantile; the default gives 95 %.
    """
    if n == 0:
        return Interval(0.0, 1.0)
    p = wrong / n
    center = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Interval(max(0.0, center - half), min(1.0, center + half))


def clopper_pearson(wrong: int, n: int, confidence: float = 0.95) -> Interval:
    """Return the exact interval for the fraction wrong / n (Clopper and Pearson 1934).

    Its coverage is never below `confidence`.
    """
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = float(betaincinv(wrong, n - wrong + 1, tail)) if wrong else 0.0
    high = float(betaincinv(wrong + 1, n - wrong, 1 - tail)) if wrong < n else 1.0
    return Interval(low, high)


def sign_flip_test(difference: np.ndarray, *, alpha: float = 0.05) -> tuple[float, int | None]:
    """Test exactly whether a sum of paired differences is 0 (Fisher 1935).

    Under the null hypothesis each difference is as likely to have the other sign. For differences
    of -1, 0 and 1 this is the exact McNemar test: each side is wrong on half of the discordant
    images (Dietterich 1998).

    Parameters
    ----------
    difference : (n,) int
    alpha : float
        Level of the least significant sum.

    Returns
    -------
    p : float
        Two-sided.
    least_sum : int or None
        The smallest absolute sum with p < alpha; None if no sum of these numbers reaches that.
    """
    from scipy.special import gammaln

    # Distribution of the sum of the positive differences, from 0 to the sum of all magnitudes. It
    # is built from terms that are not negative, so that small tails keep their digits.
    density = np.ones(1)
    magnitudes, counts = np.unique(np.abs(difference[difference != 0]), return_counts=True)
    for magnitude, count in zip(magnitudes, counts, strict=True):
        positive = np.arange(count + 1)
        log_ways = gammaln(count + 1) - gammaln(positive + 1) - gammaln(count - positive + 1)
        binomial = np.zeros(magnitude * count + 1)
        binomial[::magnitude] = np.exp(log_ways - count * math.log(2))
        density = np.convolve(density, binomial)
    largest, observed = len(density) - 1, abs(int(difference.sum()))
    # Entry i is the p of the sum 2 i - largest.
    p_values = 2 * np.cumsum(density[::-1])[::-1]
    significant = np.flatnonzero((p_values < alpha) & (density > 0))
    least_sum = 2 * int(significant[0]) - largest if len(significant) else None
    return min(1.0, float(p_values[(largest + observed) // 2])), least_sum


def paired_bootstrap(difference: np.ndarray, *, resamples: int = 10_000, seed: int = 0) -> Interval:
    """Return the 95 % percentile interval of a mean difference, by resampling images.

    Resampling with replacement is a multinomial draw of the counts of the distinct values.

    Parameters
    ----------
    difference : (n,) float
        Per image, B's wrongness minus A's.
    resamples, seed : int
    """
    values, counts = np.unique(difference, return_counts=True)
    n = len(difference)
    draws = np.random.default_rng(seed).multinomial(n, counts / n, size=resamples)
    return _percentile_interval(draws @ values / n)


def class_means(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the mean of each class that has images.

    Parameters
    ----------
    values : (n,) float
    labels : (n,) int64

    Returns
    -------
    (classes with images,) float
    """
    counts = np.bincount(labels)
    sums = np.bincount(labels, weights=values)
    return sums[counts > 0] / counts[counts > 0]


def bootstrap_within_classes(
    difference: np.ndarray, labels: np.ndarray, *, resamples: int = 2_000, seed: int = 0
) -> Interval:
    """Return the 95 % percentile interval of a mean over classes, by resampling their images.

    The classes are fixed: the interval covers other test images of the same classes. To cover other
    classes, resample the classes: `paired_bootstrap(class_means(difference, labels))`.

    Parameters
    ----------
    difference : (n,) float
        Per image, B's wrongness minus A's.
    labels : (n,) int64
    resamples, seed : int
    """
    rng = np.random.default_rng(seed)
    by_label = difference[np.argsort(labels, kind="stable")]
    classes = np.split(by_label, np.cumsum(np.bincount(labels))[:-1])
    classes = [images for images in classes if len(images)]
    sums = np.zeros(resamples)
    for images in classes:
        values, counts = np.unique(images, return_counts=True)
        n = len(images)
        sums += rng.multinomial(n, counts / n, size=resamples) @ values / n
    return _percentile_interval(sums / len(classes))


def _percentile_interval(means: np.ndarray) -> Interval:
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(low), float(high))


def seed_spread(wrong: np.ndarray) -> float | None:
    """Return the standard deviation of the error rate over seeds: what another training changes.

    Parameters
    ----------
    wrong : (seeds, n) bool

    Returns
    -------
    float or None
        None for one seed, whose spread is unknown.
    """
    return float(wrong.mean(axis=1).std(ddof=1)) if len(wrong) > 1 else None


def sampling_spread(wrong: np.ndarray) -> float:
    """Return the standard error of the mean error rate: what other test images change.

    Parameters
    ----------
    wrong : (seeds, n) bool or float
        The same images in each row; or the differences between the wrongness of two sides.

    Returns
    -------
    float
        NaN for one image.
    """
    n = wrong.shape[1]
    return float(wrong.mean(axis=0).std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of several tests (Holm 1979).

    If those below alpha are called significant, the probability of any false one is at most alpha.
    """
    tests = len(p_values)
    adjusted, highest = [0.0] * tests, 0.0
    for position, index in enumerate(sorted(range(tests), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (tests - position) * p_values[index]))
        adjusted[index] = highest
    return adjusted
