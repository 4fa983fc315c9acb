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
    center = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, center - half), min(1.0, center + half)


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

    For two classifiers on the same images `sign_flip_test` is the test. NaN where neither errs, or both always do: there is nothing to test.
    """
    pooled = (wrong_a + wrong_b) / (n_a + n_b)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n_a + 1 / n_b))
    return (
        math.erfc((wrong_b / n_b - wrong_a / n_a) / error / math.sqrt(2)) / 2 if error else math.nan
    )


def sign_flip_test(difference: np.ndarray, *, alpha: float = 0.05) -> tuple[float, int | None]:
    """(two-sided p, the least sum that has a p below alpha) of the exact sign-flip test of (n,) whole numbers (Fisher 1935).

    Under the hypothesis each number is as likely to have the other sign. Of differences of -1, 0 and 1 this is the exact McNemar test:
    of the discordant images, each side errs on half (Dietterich 1998). None where no sum of such numbers would have that p.
    """
    from scipy.special import gammaln

    # Of how much is positive, from 0 to `total`. No summand is negative, so that small tails keep their digits.
    density = np.ones(1)
    for size, count in zip(
        *np.unique(np.abs(difference[difference != 0]), return_counts=True), strict=True
    ):
        positive = np.arange(count + 1)
        binomial = np.zeros(size * count + 1)
        binomial[::size] = np.exp(
            gammaln(count + 1)
            - gammaln(positive + 1)
            - gammaln(count - positive + 1)
            - count * math.log(2)
        )
        density = np.convolve(density, binomial)
    total, found = len(density) - 1, abs(int(difference.sum()))
    p_values = 2 * np.cumsum(density[::-1])[::-1]  # of the sum 2 h - total, by h
    shown = np.flatnonzero((p_values < alpha) & (density > 0))
    return min(1.0, float(p_values[(total + found) // 2])), 2 * int(shown[0]) - total if len(
        shown
    ) else None


def paired_bootstrap(
    difference: np.ndarray, *, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
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
    parts = np.split(
        difference[np.argsort(labels, kind="stable")], np.cumsum(np.bincount(labels))[:-1]
    )
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
