"""Error bars and tests for error rates measured on one test split."""

from __future__ import annotations

import math

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
