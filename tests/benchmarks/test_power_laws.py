"""Laws and crossings that are known beforehand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.power_laws import (
    REACH,
    PowerLaw,
    crossing,
    fit_curves,
    fit_power_law,
    resampled_errors,
)

SIZES = np.array([1_000.0, 5_000.0, 15_000.0, 50_000.0])


def law(a: float, b: float, c: float) -> PowerLaw:
    return PowerLaw(np.array(a), np.array(b), np.array(c))


@pytest.mark.parametrize(
    ("a", "b", "c"), [(10, 900, 0.45), (0, 300, 0.2), (2, 5e5, 1.5), (25, 100, 0.05)]
)
def test_four_sizes_on_a_law_give_it_back(a: float, b: float, c: float) -> None:
    errors = a + b * SIZES**-c
    found = fit_power_law(SIZES, errors)
    assert found(SIZES) == pytest.approx(errors, rel=1e-4)
    assert float(found.c) == pytest.approx(c, abs=2e-3)
    assert float(found.a) == pytest.approx(a, abs=0.5)
    assert float(found.b) == pytest.approx(b, rel=0.02)


def test_the_least_relative_residuals_are_found() -> None:
    """Against scipy's, which walks where we search."""
    from scipy.optimize import least_squares

    errors = np.array([61.0, 43.0, 30.0, 23.5])
    found = fit_power_law(SIZES, errors)

    def residuals(p: np.ndarray) -> np.ndarray:
        return (p[0] + p[1] * (SIZES / 10_000) ** -p[2]) / errors - 1

    walked = least_squares(
        residuals,
        [10, 20, 0.5],
        bounds=([0, 0, 0.01], [100, 1000, 3]),
        xtol=1e-12,
        ftol=1e-12,
        gtol=1e-12,
    )
    ours = residuals(
        np.array([float(found.a), float(found.b) * 10_000 ** -float(found.c), float(found.c)])
    )
    assert (ours**2).sum() <= 2 * walked.cost * (1 + 1e-6)


def test_below_four_sizes_the_error_falls_towards_nothing() -> None:
    three = fit_power_law(SIZES[:3], 10 + 900 * SIZES[:3] ** -0.45)
    assert float(three.a) == 0
    two = fit_power_law(SIZES[:2], np.array([40.0, 20.0]))
    assert two(SIZES[:2]) == pytest.approx([40, 20], rel=1e-4)
    with pytest.raises(ValueError, match="two sizes or more, got 1"):
        fit_power_law(SIZES[:1], np.array([40.0]))


def test_errors_that_do_not_fall_give_a_level_line() -> None:
    found = fit_power_law(SIZES, np.array([20.0, 20.0, 21.0, 21.0]))
    assert found(SIZES) == pytest.approx(np.full(4, 20.5), abs=0.1)


def test_many_fits_are_those_of_each_alone() -> None:
    rows = np.random.default_rng(0).uniform(5, 60, (6, 4))
    together = fit_power_law(SIZES, rows)
    for i, row in enumerate(rows):
        alone = fit_power_law(SIZES, row)
        assert [float(x) for x in (alone.a, alone.b, alone.c)] == [
            float(x[i]) for x in (together.a, together.b, together.c)
        ]


def test_laws_cross_where_algebra_says() -> None:
    """100 n^-0.2 = 1000 n^-0.5 at n = 10^(1 / 0.3)."""
    found = crossing(law(0, 100, 0.2), law(0, 1000, 0.5), 100, 50_000)
    assert float(found) == pytest.approx(10 ** (1 / 0.3), rel=1e-3)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (law(20, 0, 1), law(10, 0, 1), 0),  # better everywhere
        (law(10, 0, 1), law(20, 0, 1), math.inf),  # nowhere
        (law(0, 1000, 0.5), law(0, 100, 0.2), math.inf),  # better at first only
        (law(10, 0, 1), law(10, 0, 1), math.inf),  # never better
    ],
)
def test_no_crossing_in_range(before: PowerLaw, after: PowerLaw, expected: float) -> None:
    assert float(crossing(before, after, 100, 50_000)) == expected


def test_a_crossing_is_looked_for_up_to_four_times_the_largest_size() -> None:
    def at(n: float) -> float:
        return float(crossing(law(10, 0, 1), law(0, 10 * n**0.5, 0.5), 100, 1_000))

    assert at(3_900) == pytest.approx(3_900, rel=1e-2)
    assert at(4_100) == math.inf
    assert REACH == 4


def answers(rates: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """(pipelines, seeds, n) bool, wrong with these chances, (pipelines, seeds); hard images are hard for all."""
    return rng.uniform(size=n) < rates[..., None]


def test_resampling_images_spreads_as_the_binomial_says_and_keeps_pairs() -> None:
    rng = np.random.default_rng(0)
    point = answers(np.array([[0.3], [0.3]]), 2_000, rng)
    drawn = resampled_errors([point, point], resamples=2_000)
    assert drawn.shape == (2_000, 2, 2)
    assert drawn[:, 0, 0].std() == pytest.approx(math.sqrt(0.3 * 0.7 / 2_000), rel=0.1)
    assert drawn.mean() == pytest.approx(point.mean(), abs=1e-3)
    assert np.array_equal(
        drawn[:, 0], drawn[:, 1]
    )  # two pipelines with the same answers never differ
    assert np.array_equal(drawn[:, :, 0], drawn[:, :, 1])  # nor do two sizes


def test_resampling_seeds_spreads_by_their_number() -> None:
    wrong = np.zeros((1, 4, 1_000), dtype=bool)
    for seed, rate in enumerate((0.1, 0.2, 0.3, 0.4)):
        wrong[0, seed, : round(1_000 * rate)] = True
    spread = resampled_errors([wrong], resamples=4_000)[:, 0, 0].std()
    assert spread == pytest.approx(
        math.sqrt(np.var([0.1, 0.2, 0.3, 0.4]) / 4 + 0.25 * 0.75 / 1_000), rel=0.1
    )


def study(seeds: int, n: int, seed: int) -> list[np.ndarray]:
    """Two pipelines whose true laws cross at 10,000 images: 8 + 20 (n / 10,000)^-0.2 and 4 + 24 (n / 10,000)^-0.4."""
    rng = np.random.default_rng(seed)
    points = []
    for size in SIZES / 10_000:
        rates = np.array([8 + 20 * size**-0.2, 4 + 24 * size**-0.4]) / 100
        points.append(
            answers(np.clip(rates[:, None] + rng.normal(0, 0.003, (2, seeds)), 0, 1), n, rng)
        )
    return points


def test_the_crossing_of_a_study_and_its_interval() -> None:
    curves = fit_curves([*SIZES.astype(int)], study(3, 10_000, seed=0), resamples=400)
    found = curves.crossing(0, 1)
    assert found.low < 10_000 < found.high
    assert found.n == pytest.approx(10_000, rel=0.35)
    assert found.missing == 0
    assert curves.residuals.max() < 1
    assert curves.largest_asked == 200_000


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(40):
        found = fit_curves(
            [*SIZES.astype(int)], study(3, 2_000, seed=seed), resamples=200
        ).crossing(0, 1)
        held += found.low <= 10_000 <= found.high
    assert held >= 34  # of 38 expected


def test_order_and_perfect_scores_do_no_harm() -> None:
    points = study(2, 500, seed=1)
    points[3][1] = False  # not one error
    straight = fit_curves([*SIZES.astype(int)], points, resamples=50)
    turned = fit_curves([*SIZES[::-1].astype(int)], points[::-1], resamples=50)
    assert straight.errors[1, 3] == 50 / 500
    assert np.array_equal(straight.errors, turned.errors)
    assert np.isfinite([float(x) for law in straight.laws for x in (law.a, law.b, law.c)]).all()
