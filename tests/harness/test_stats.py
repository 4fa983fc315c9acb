from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap

from harness.stats import mcnemar, paired_bootstrap, smallest_detectable, wilson


@pytest.mark.parametrize(("wrong", "n"), [(0, 10), (3, 10), (38, 500), (10, 10), (2000, 10_000)])
def test_wilson_agrees_with_scipy(wrong: int, n: int) -> None:
    oracle = binomtest(wrong, n).proportion_ci(0.95, method="wilson")
    assert wilson(wrong, n) == pytest.approx((oracle.low, oracle.high), abs=1e-12)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (5, 15), (15, 5), (10, 10), (700, 900)])
def test_mcnemar_is_the_binomial_test_of_the_discordant_pairs(b: int, c: int) -> None:
    oracle = binomtest(b, b + c).pvalue if b + c else 1.0
    assert mcnemar(b, c) == pytest.approx(oracle, rel=1e-9)


def test_paired_bootstrap_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    difference = rng.choice([-1.0, 0.0, 1.0], size=2000, p=[0.08, 0.87, 0.05])
    oracle = bootstrap((difference,), np.mean, n_resamples=5000, method="percentile", rng=1).confidence_interval
    low, high = paired_bootstrap(difference)
    assert (low, high) == pytest.approx((oracle.low, oracle.high), abs=1e-3)
    assert low < difference.mean() < high


@pytest.mark.parametrize("discordant", [6, 20, 101, 3000])
def test_smallest_detectable_is_the_edge_of_significance(discordant: int) -> None:
    n = 10_000
    smallest = smallest_detectable(discordant, n)
    assert smallest is not None
    fewer = round((discordant - smallest * n) / 2)  # errors of the better side on the discordant images
    assert mcnemar(fewer, discordant - fewer) < 0.05
    assert mcnemar(fewer + 1, discordant - fewer - 1) >= 0.05


def test_too_few_discordant_images_show_nothing() -> None:
    assert smallest_detectable(5, 100) is None
    assert mcnemar(0, 5) >= 0.05
