from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap, chi2_contingency, permutation_test

from harness.metrics.intervals import (
    bootstrap_within_classes,
    class_means,
    clopper_pearson,
    fewer_errors,
    holm,
    normal_interval,
    paired_bootstrap,
    sampling_spread,
    seed_spread,
    sign_flip_test,
    wilson,
)


@pytest.mark.parametrize(("wrong", "n"), [(0, 10), (3, 10), (38, 500), (10, 10), (2000, 10_000)])
def test_wilson_agrees_with_scipy(wrong: int, n: int) -> None:
    oracle = binomtest(wrong, n).proportion_ci(0.95, method="wilson")
    assert wilson(wrong, n) == pytest.approx((oracle.low, oracle.high), abs=1e-12)


def of_one_seed(only_a_wrong: int, only_b_wrong: int, n: int = 2000) -> np.ndarray:
    return np.repeat([-1, 1, 0], [only_a_wrong, only_b_wrong, n - only_a_wrong - only_b_wrong])


@pytest.mark.parametrize(
    ("b", "c"), [(0, 0), (1, 0), (5, 15), (15, 5), (10, 10), (700, 900), (10, 1500)]
)
def test_for_one_seed_the_sign_flip_test_is_mcnemars(b: int, c: int) -> None:
    """The binomial test of the discordant pairs."""
    oracle = binomtest(b, b + c).pvalue if b + c else 1.0
    assert sign_flip_test(of_one_seed(b, c))[0] == pytest.approx(oracle, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_the_sign_flip_test_is_that_of_scipy(seed: int) -> None:
    """Of differences over several seeds, all 2^n signs tried."""
    difference = np.random.default_rng(seed).choice(
        [-3, -2, -1, 0, 1, 2, 3], size=11, p=[0.05, 0.1, 0.1, 0.1, 0.25, 0.25, 0.15]
    )
    oracle = permutation_test(
        (difference,), np.sum, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    p, smallest = sign_flip_test(difference)
    assert p == pytest.approx(oracle, rel=1e-9)
    sums = np.abs(
        [np.dot(signs, difference) for signs in itertools.product([-1, 1], repeat=len(difference))]
    )
    shown = [total for total in np.unique(sums) if (sums >= total).mean() < 0.05]
    assert smallest == (min(shown) if shown else None)


def test_another_sign_is_the_same_p() -> None:
    difference = np.array([3, 2, 2, -1, 1, 0, 0, 3, 1, 1])
    assert sign_flip_test(difference) == sign_flip_test(-difference)


def test_paired_bootstrap_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    difference = rng.choice([-1.0, 0.0, 1.0], size=2000, p=[0.08, 0.87, 0.05])
    oracle = bootstrap(
        (difference,), np.mean, n_resamples=5000, method="percentile", rng=1
    ).confidence_interval
    low, high = paired_bootstrap(difference)
    assert (low, high) == pytest.approx((oracle.low, oracle.high), abs=1e-3)
    assert low < difference.mean() < high


@pytest.mark.parametrize("discordant", [6, 20, 101, 1500])
def test_the_smallest_sum_is_the_edge_of_significance(discordant: int) -> None:
    _, smallest = sign_flip_test(of_one_seed(0, discordant))
    assert smallest is not None
    fewer = (discordant - smallest) // 2  # errors of the better side on the discordant images
    assert sign_flip_test(of_one_seed(fewer, discordant - fewer))[0] < 0.05
    assert sign_flip_test(of_one_seed(fewer + 1, discordant - fewer - 1))[0] >= 0.05


def test_too_few_discordant_images_show_nothing() -> None:
    p, smallest = sign_flip_test(of_one_seed(0, 5))
    assert p >= 0.05
    assert smallest is None


@pytest.mark.parametrize("discordant", range(6, 40))
def test_the_smallest_sum_is_the_smallest_of_all_outcomes(discordant: int) -> None:
    shown = [
        abs(discordant - 2 * b)
        for b in range(discordant + 1)
        if binomtest(b, discordant).pvalue < 0.05
    ]
    assert sign_flip_test(of_one_seed(discordant, 0))[1] == min(shown)


@pytest.mark.parametrize("confidence", [0.95, 0.999])
@pytest.mark.parametrize(("wrong", "n"), [(0, 10), (3, 10), (38, 500), (10, 10), (2000, 10_000)])
def test_clopper_pearson_agrees_with_scipy(wrong: int, n: int, confidence: float) -> None:
    oracle = binomtest(wrong, n).proportion_ci(confidence, method="exact")
    assert clopper_pearson(wrong, n, confidence) == pytest.approx(
        (oracle.low, oracle.high), abs=1e-9
    )
    assert clopper_pearson(0, 0) == wilson(0, 0) == (0, 1)


Z999 = 3.2905  # two-sided 99.9 %


@pytest.mark.parametrize(
    ("error", "published"),
    [
        (6.656, (6.40, 6.92)),
        (7.325, (7.05, 7.60)),
        (16.422, (16.04, 16.81)),
        (26.172, (25.71, 26.63)),
    ],
)
def test_normal_intervals_are_those_of_the_challenge(
    error: float, published: tuple[float, float]
) -> None:
    """Russakovsky et al. 2015, Table 8: GoogLeNet and VGG, 99.9 %, 100,000 test images; SuperVision and ISI by the same rule."""
    assert (
        tuple(round(100 * end, 2) for end in normal_interval(error / 100, 100_000, Z999))
        == published
    )


@pytest.mark.parametrize(
    "interval",
    [wilson, lambda wrong, n, z: clopper_pearson(wrong, n, 0.999)],
    ids=["wilson", "exact"],
)
def test_at_the_size_of_the_challenge_all_intervals_say_the_same(interval) -> None:
    for wrong in (6656, 7325):
        assert interval(wrong, 100_000, Z999) == pytest.approx(
            normal_interval(wrong / 100_000, 100_000, Z999), abs=1e-4
        )


def test_human_against_googlenet() -> None:
    """Russakovsky et al. 2015, section 6.4: one-sided p = 0.022 for 5.1 % against 6.8 %, both on the annotator's 1,500 images.

    The annotator counts 76 mistakes (Karpathy); 102 is 6.8 %. GoogLeNet's 6.7 % on all 100,000 would give 0.007.
    """
    assert fewer_errors(76, 1500, 102, 1500) == pytest.approx(0.022, abs=5e-4)
    assert fewer_errors(76, 1500, 6656, 100_000) == pytest.approx(0.007, abs=5e-4)


@pytest.mark.parametrize(
    ("a", "n_a", "b", "n_b"), [(76, 1500, 102, 1500), (30, 258, 6656, 100_000), (3, 10, 1, 12)]
)
def test_fewer_errors_is_half_of_the_chi_squared_test(a: int, n_a: int, b: int, n_b: int) -> None:
    two_sided = chi2_contingency([[a, n_a - a], [b, n_b - b]], correction=False).pvalue
    p = fewer_errors(a, n_a, b, n_b)
    assert min(p, 1 - p) == pytest.approx(two_sided / 2)
    assert p + fewer_errors(b, n_b, a, n_a) == pytest.approx(1)
    assert math.isnan(fewer_errors(0, n_a, 0, n_b))


def test_holm_is_the_closed_test_of_bonferroni() -> None:
    """By definition: a hypothesis is rejected when Bonferroni rejects every set of hypotheses that it is in."""
    rng = np.random.default_rng(0)
    for tests in range(1, 6):
        p = list(rng.uniform(0, 0.4, tests) ** 2)
        sets = [
            s for size in range(1, tests + 1) for s in itertools.combinations(range(tests), size)
        ]
        closed = [
            max(min(1.0, len(s) * min(p[i] for i in s)) for s in sets if index in s)
            for index in range(tests)
        ]
        assert holm(p) == pytest.approx(closed)
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_bootstrap_within_classes_agrees_with_drawing_images() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 2, 5], [400, 100, 20])  # unequal, and classes without images
    difference = rng.choice([-1.0, 0.0, 1.0], size=520, p=[0.2, 0.7, 0.1])
    drawn = [
        np.mean([rng.choice(difference[labels == c], (labels == c).sum()).mean() for c in (0, 2, 5)]) for _ in range(4000)
    ]  # fmt: skip
    shuffled = rng.permutation(520)
    low, high = bootstrap_within_classes(difference[shuffled], labels[shuffled], resamples=10_000)
    assert (low, high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.01)
    means = class_means(difference, labels)
    assert means == pytest.approx([difference[labels == c].mean() for c in (0, 2, 5)])
    assert low < means.mean() < high


def test_classes_of_one_outcome_leave_nothing_to_resample_within_them() -> None:
    labels = np.repeat(np.arange(10), 20)
    difference = np.where(labels < 3, 1.0, 0.0)
    assert bootstrap_within_classes(difference, labels) == pytest.approx((0.3, 0.3))
    low, high = paired_bootstrap(class_means(difference, labels))  # other classes would change it
    assert (low, high) == pytest.approx((0.0, 0.6), abs=0.101)


def test_spreads_of_seeds_and_of_images_are_told_apart() -> None:
    hard = np.arange(100) < 30
    same_answers = np.tile(hard, (4, 1))
    assert seed_spread(same_answers) == 0
    assert sampling_spread(same_answers) == pytest.approx(np.sqrt(0.3 * 0.7 / 99))
    one_bad_seed = np.repeat([[True], [False], [False]], 100, axis=1)
    assert seed_spread(one_bad_seed) == pytest.approx(np.std([1, 0, 0], ddof=1))
    assert sampling_spread(one_bad_seed) == pytest.approx(0, abs=1e-12)
    assert seed_spread(hard[None]) is None
    assert math.isnan(sampling_spread(np.array([[True]])))


def test_each_spread_is_what_drawing_again_shows() -> None:
    """Images of a known difficulty, trainings of a known skill: draw either many times, hold the other."""
    rng = np.random.default_rng(0)

    def wrong(difficulty: np.ndarray, skill: np.ndarray) -> np.ndarray:
        return difficulty + skill[:, None] > 1

    skill, difficulty = rng.normal(0, 0.2, 5), rng.normal(0, 1, 2000)
    redrawn = [wrong(rng.normal(0, 1, 2000), skill).mean() for _ in range(2000)]
    assert np.mean(
        [sampling_spread(wrong(rng.normal(0, 1, 2000), skill)) for _ in range(50)]
    ) == pytest.approx(np.std(redrawn), rel=0.1)
    retrained = [wrong(difficulty, rng.normal(0, 0.2, 1)).mean() for _ in range(4000)]
    spreads = [seed_spread(wrong(difficulty, rng.normal(0, 0.2, 5))) for _ in range(2000)]
    assert np.sqrt(np.mean(np.square(spreads))) == pytest.approx(np.std(retrained), rel=0.1)  # type: ignore[arg-type]
