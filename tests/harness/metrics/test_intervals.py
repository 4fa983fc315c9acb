"""Intervals and tests against scipy, against brute force, and against published intervals."""

from __future__ import annotations

import itertools
import math
from dataclasses import astuple

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap, permutation_test

from harness.metrics.intervals import (
    bootstrap_within_classes,
    class_means,
    clopper_pearson,
    holm,
    paired_bootstrap,
    sampling_spread,
    seed_spread,
    sign_flip_test,
    wilson,
)
from harness.runs.result import Interval

COUNTS = [(0, 10), (3, 10), (38, 500), (10, 10), (2000, 10_000)]


@pytest.mark.parametrize(("wrong", "n"), COUNTS)
def test_wilson_agrees_with_scipy(wrong: int, n: int) -> None:
    oracle = binomtest(wrong, n).proportion_ci(0.95, method="wilson")
    assert astuple(wilson(wrong, n)) == pytest.approx((oracle.low, oracle.high), abs=1e-12)


@pytest.mark.parametrize("confidence", [0.95, 0.999])
@pytest.mark.parametrize(("wrong", "n"), COUNTS)
def test_clopper_pearson_agrees_with_scipy(wrong: int, n: int, confidence: float) -> None:
    oracle = binomtest(wrong, n).proportion_ci(confidence, method="exact")
    interval = astuple(clopper_pearson(wrong, n, confidence))
    assert interval == pytest.approx((oracle.low, oracle.high), abs=1e-9)


def test_nothing_is_known_without_images() -> None:
    assert wilson(0, 0) == clopper_pearson(0, 0) == Interval(0, 1)


@pytest.mark.parametrize(
    ("error", "published"),
    [
        (6.656, (6.40, 6.92)),
        (7.325, (7.05, 7.60)),
        (16.422, (16.04, 16.81)),
        (26.172, (25.71, 26.63)),
    ],
)
def test_both_intervals_are_the_published_ones_of_the_challenge(
    error: float, published: tuple[float, float]
) -> None:
    """Russakovsky et al. 2015, Table 8: 99.9 % intervals on 100,000 test images.

    The rows are GoogLeNet, VGG, SuperVision and ISI. The published ones are normal intervals.
    """
    wrong = round(1000 * error)
    for interval in (wilson(wrong, 100_000, z=3.2905), clopper_pearson(wrong, 100_000, 0.999)):
        assert astuple(interval.in_percent()) == pytest.approx(published, abs=0.011)


def one_seed(only_a_wrong: int, only_b_wrong: int, n: int = 2000) -> np.ndarray:
    return np.repeat([-1, 1, 0], [only_a_wrong, only_b_wrong, n - only_a_wrong - only_b_wrong])


@pytest.mark.parametrize(
    ("b", "c"), [(0, 0), (1, 0), (5, 15), (15, 5), (10, 10), (700, 900), (10, 1500)]
)
def test_the_sign_flip_test_of_one_seed_is_mcnemars(b: int, c: int) -> None:
    """McNemar's exact test is the binomial test of the discordant images."""
    oracle = binomtest(b, b + c).pvalue if b + c else 1.0
    assert sign_flip_test(one_seed(b, c))[0] == pytest.approx(oracle, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_the_sign_flip_test_of_several_seeds_agrees_with_all_sign_flips(seed: int) -> None:
    difference = np.random.default_rng(seed).choice(
        [-3, -2, -1, 0, 1, 2, 3], size=11, p=[0.05, 0.1, 0.1, 0.1, 0.25, 0.25, 0.15]
    )
    oracle = permutation_test(
        (difference,), np.sum, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    p, least_sum = sign_flip_test(difference)
    assert p == pytest.approx(oracle, rel=1e-9)
    signs = np.array(list(itertools.product([-1, 1], repeat=len(difference))))
    sums = np.abs(signs @ difference)
    significant = [total for total in np.unique(sums) if (sums >= total).mean() < 0.05]
    assert least_sum == (min(significant) if significant else None)


def test_the_other_sign_has_the_same_p() -> None:
    difference = np.array([3, 2, 2, -1, 1, 0, 0, 3, 1, 1])
    assert sign_flip_test(difference) == sign_flip_test(-difference)


@pytest.mark.parametrize("discordant", [6, 20, 101, 1500])
def test_the_least_sum_is_the_edge_of_significance(discordant: int) -> None:
    _, least_sum = sign_flip_test(one_seed(0, discordant))
    assert least_sum is not None
    fewer = (discordant - least_sum) // 2  # discordant images on which the better side is wrong
    assert sign_flip_test(one_seed(fewer, discordant - fewer))[0] < 0.05
    assert sign_flip_test(one_seed(fewer + 1, discordant - fewer - 1))[0] >= 0.05


@pytest.mark.parametrize("discordant", range(6, 40))
def test_the_least_sum_is_the_least_of_all_significant_outcomes(discordant: int) -> None:
    significant = [
        abs(discordant - 2 * b)
        for b in range(discordant + 1)
        if binomtest(b, discordant).pvalue < 0.05
    ]
    assert sign_flip_test(one_seed(discordant, 0))[1] == min(significant)


def test_too_few_discordant_images_are_never_significant() -> None:
    p, least_sum = sign_flip_test(one_seed(0, 5))
    assert p >= 0.05
    assert least_sum is None


def test_paired_bootstrap_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    difference = rng.choice([-1.0, 0.0, 1.0], size=2000, p=[0.08, 0.87, 0.05])
    oracle = bootstrap(
        (difference,), np.mean, n_resamples=5000, method="percentile", rng=1
    ).confidence_interval
    interval = paired_bootstrap(difference)
    assert astuple(interval) == pytest.approx((oracle.low, oracle.high), abs=1e-3)
    assert interval.low < difference.mean() < interval.high


def test_bootstrap_within_classes_agrees_with_resampling_images() -> None:
    rng = np.random.default_rng(0)
    present = (0, 2, 5)  # of unequal sizes, with classes without images between them
    labels = np.repeat(present, [400, 100, 20])
    difference = rng.choice([-1.0, 0.0, 1.0], size=520, p=[0.2, 0.7, 0.1])
    classes = [difference[labels == label] for label in present]
    resampled = [
        np.mean([rng.choice(images, len(images)).mean() for images in classes]) for _ in range(4000)
    ]
    order = rng.permutation(520)
    interval = bootstrap_within_classes(difference[order], labels[order], resamples=10_000)
    oracle = tuple(np.quantile(resampled, [0.025, 0.975]))
    assert astuple(interval) == pytest.approx(oracle, abs=0.01)
    means = class_means(difference, labels)
    assert means == pytest.approx([images.mean() for images in classes])
    assert interval.low < means.mean() < interval.high


def test_classes_whose_images_agree_have_no_spread_within_them() -> None:
    labels = np.repeat(np.arange(10), 20)
    difference = np.where(labels < 3, 1.0, 0.0)
    within = bootstrap_within_classes(difference, labels)
    assert astuple(within) == pytest.approx((0.3, 0.3))
    between = paired_bootstrap(class_means(difference, labels))
    assert astuple(between) == pytest.approx((0.0, 0.6), abs=0.101)


def test_the_spreads_over_seeds_and_over_images_are_independent() -> None:
    hard = np.arange(100) < 30
    same_answers = np.tile(hard, (4, 1))
    assert seed_spread(same_answers) == 0
    assert sampling_spread(same_answers) == pytest.approx(np.sqrt(0.3 * 0.7 / 99))
    one_bad_seed = np.repeat([[True], [False], [False]], 100, axis=1)
    assert seed_spread(one_bad_seed) == pytest.approx(np.std([1, 0, 0], ddof=1))
    assert sampling_spread(one_bad_seed) == pytest.approx(0, abs=1e-12)


def test_one_seed_and_one_image_have_no_spread() -> None:
    assert seed_spread(np.array([[True, False]])) is None
    assert math.isnan(sampling_spread(np.array([[True]])))


def test_each_spread_is_that_of_repeated_experiments() -> None:
    """Draw images of a known difficulty and trainings of a known skill, and fix either one."""
    rng = np.random.default_rng(0)

    def wrong(difficulty: np.ndarray, skill: np.ndarray) -> np.ndarray:
        return difficulty + skill[:, None] > 1

    def images() -> np.ndarray:
        return rng.normal(0, 1, 2000)

    def trainings(count: int) -> np.ndarray:
        return rng.normal(0, 0.2, count)

    skill, difficulty = trainings(5), images()
    errors = [wrong(images(), skill).mean() for _ in range(2000)]
    spreads = [sampling_spread(wrong(images(), skill)) for _ in range(50)]
    assert np.mean(spreads) == pytest.approx(np.std(errors), rel=0.1)
    errors = [wrong(difficulty, trainings(1)).mean() for _ in range(4000)]
    seed_spreads = [seed_spread(wrong(difficulty, trainings(5))) or 0.0 for _ in range(2000)]
    assert np.sqrt(np.mean(np.square(seed_spreads))) == pytest.approx(np.std(errors), rel=0.1)


def test_holm_is_the_closed_test_of_bonferroni() -> None:
    """A hypothesis is rejected if Bonferroni rejects every set of hypotheses that contains it."""
    rng = np.random.default_rng(0)
    for tests in range(1, 6):
        p = list(rng.uniform(0, 0.4, tests) ** 2)
        sizes = range(1, tests + 1)
        sets = [s for size in sizes for s in itertools.combinations(range(tests), size)]
        bonferroni = {s: min(1.0, len(s) * min(p[i] for i in s)) for s in sets}
        closed = [max(bonferroni[s] for s in sets if index in s) for index in range(tests)]
        assert holm(p) == pytest.approx(closed)


def test_holm_of_a_textbook_example_and_of_no_tests() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
