"""Laws and crossings whose parameters are known are recovered."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.power_laws import (
    EXTRAPOLATION_FACTOR,
    PowerLaw,
    crossing,
    fit_curves,
    fit_power_law,
    resample_errors,
)

SIZES = np.array([1_000.0, 5_000.0, 15_000.0, 50_000.0])


def law(a: float, b: float, c: float) -> PowerLaw:
    return PowerLaw(np.array(a), np.array(b), np.array(c))


@pytest.mark.parametrize(
    ("a", "b", "c"), [(10, 900, 0.45), (0, 300, 0.2), (2, 5e5, 1.5), (25, 100, 0.05)]
)
def test_four_sizes_on_a_law_recover_it(a: float, b: float, c: float) -> None:
    errors = a + b * SIZES**-c
    fitted = fit_power_law(SIZES, errors)
    assert fitted(SIZES) == pytest.approx(errors, rel=1e-4)
    assert float(fitted.c) == pytest.approx(c, abs=2e-3)
    assert float(fitted.a) == pytest.approx(a, abs=0.5)
    assert float(fitted.b) == pytest.approx(b, rel=0.02)


def test_relative_residuals_are_as_small_as_those_of_scipy() -> None:
    from scipy.optimize import least_squares

    errors = np.array([61.0, 43.0, 30.0, 23.5])
    fitted = fit_power_law(SIZES, errors)

    def residuals(p: np.ndarray) -> np.ndarray:
        return (p[0] + p[1] * (SIZES / 10_000) ** -p[2]) / errors - 1

    reference = least_squares(
        residuals,
        [10, 20, 0.5],
        bounds=([0, 0, 0.01], [100, 1000, 3]),
        xtol=1e-12,
        ftol=1e-12,
        gtol=1e-12,
    )
    ours = residuals(
        np.array([float(fitted.a), float(fitted.b) * 10_000 ** -float(fitted.c), float(fitted.c)])
    )
    assert (ours**2).sum() <= 2 * reference.cost * (1 + 1e-6)


def test_with_fewer_than_four_sizes_a_is_zero() -> None:
    three = fit_power_law(SIZES[:3], 10 + 900 * SIZES[:3] ** -0.45)
    assert float(three.a) == 0
    two = fit_power_law(SIZES[:2], np.array([40.0, 20.0]))
    assert two(SIZES[:2]) == pytest.approx([40, 20], rel=1e-4)
    with pytest.raises(ValueError, match="at least two sizes, got 1"):
        fit_power_law(SIZES[:1], np.array([40.0]))


def test_errors_that_do_not_fall_give_a_constant() -> None:
    fitted = fit_power_law(SIZES, np.array([20.0, 20.0, 21.0, 21.0]))
    assert fitted(SIZES) == pytest.approx(np.full(4, 20.5), abs=0.1)


def test_rows_are_fitted_independently() -> None:
    rows = np.random.default_rng(0).uniform(5, 60, (6, 4))
    together = fit_power_law(SIZES, rows)
    for i, row in enumerate(rows):
        alone = fit_power_law(SIZES, row)
        assert [float(x) for x in (alone.a, alone.b, alone.c)] == [
            float(x[i]) for x in (together.a, together.b, together.c)
        ]


def test_laws_cross_at_the_algebraic_solution() -> None:
    """100 n^-0.2 = 1000 n^-0.5 at n = 10^(1 / 0.3)."""
    n = crossing(law(0, 100, 0.2), law(0, 1000, 0.5), 100, 50_000)
    assert float(n) == pytest.approx(10 ** (1 / 0.3), rel=1e-3)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (law(20, 0, 1), law(10, 0, 1), 0),  # lower everywhere
        (law(10, 0, 1), law(20, 0, 1), math.inf),  # higher everywhere
        (law(0, 1000, 0.5), law(0, 100, 0.2), math.inf),  # lower at first only
        (law(10, 0, 1), law(10, 0, 1), math.inf),  # equal
    ],
)
def test_no_crossing_in_range(before: PowerLaw, after: PowerLaw, expected: float) -> None:
    assert float(crossing(before, after, 100, 50_000)) == expected


def test_crossings_are_found_up_to_four_times_the_largest_size() -> None:
    def at(n: float) -> float:
        return float(crossing(law(10, 0, 1), law(0, 10 * n**0.5, 0.5), 100, 1_000))

    assert at(3_900) == pytest.approx(3_900, rel=1e-2)
    assert at(4_100) == math.inf
    assert EXTRAPOLATION_FACTOR == 4


def random_mistakes(rates: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return (pipelines, seeds, n) bool with error rates (pipelines, seeds).

    An image that is hard for one is hard for all.
    """
    return rng.uniform(size=n) < rates[..., None]


def test_resampled_images_have_binomial_spread_and_stay_paired() -> None:
    rng = np.random.default_rng(0)
    point = random_mistakes(np.array([[0.3], [0.3]]), 2_000, rng)
    resampled = resample_errors([point, point], resamples=2_000)
    assert resampled.shape == (2_000, 2, 2)
    assert resampled[:, 0, 0].std() == pytest.approx(math.sqrt(0.3 * 0.7 / 2_000), rel=0.1)
    assert resampled.mean() == pytest.approx(point.mean(), abs=1e-3)
    # Two pipelines, or two sizes, with the same mistakes never differ.
    assert np.array_equal(resampled[:, 0], resampled[:, 1])
    assert np.array_equal(resampled[:, :, 0], resampled[:, :, 1])


def test_resampled_seeds_have_the_spread_of_their_mean() -> None:
    wrong = np.zeros((1, 4, 1_000), dtype=bool)
    for seed, rate in enumerate((0.1, 0.2, 0.3, 0.4)):
        wrong[0, seed, : round(1_000 * rate)] = True
    spread = resample_errors([wrong], resamples=4_000)[:, 0, 0].std()
    assert spread == pytest.approx(
        math.sqrt(np.var([0.1, 0.2, 0.3, 0.4]) / 4 + 0.25 * 0.75 / 1_000), rel=0.1
    )


def simulated_study(seeds: int, n: int, seed: int) -> list[np.ndarray]:
    """Return the mistakes of two pipelines whose true laws cross at 10,000 images.

    The laws are 8 + 20 (n / 10,000)^-0.2 and 4 + 24 (n / 10,000)^-0.4.
    """
    rng = np.random.default_rng(seed)
    points = []
    for size in SIZES / 10_000:
        rates = np.array([8 + 20 * size**-0.2, 4 + 24 * size**-0.4]) / 100
        points.append(
            random_mistakes(
                np.clip(rates[:, None] + rng.normal(0, 0.003, (2, seeds)), 0, 1), n, rng
            )
        )
    return points


def test_the_interval_of_a_crossing_contains_it() -> None:
    curves = fit_curves([*SIZES.astype(int)], simulated_study(3, 10_000, seed=0), resamples=400)
    estimate = curves.crossing(0, 1)
    assert estimate.low < 10_000 < estimate.high
    assert estimate.n == pytest.approx(10_000, rel=0.35)
    assert estimate.missing == 0
    assert curves.residuals.max() < 1
    assert curves.largest_extrapolated == 200_000


def test_intervals_cover_the_true_crossing_as_often_as_they_should() -> None:
    covered = 0
    for seed in range(40):
        points = simulated_study(3, 2_000, seed=seed)
        estimate = fit_curves([*SIZES.astype(int)], points, resamples=200).crossing(0, 1)
        covered += estimate.low <= 10_000 <= estimate.high
    assert covered >= 34  # 38 expected


def test_the_order_of_sizes_does_not_matter_and_no_error_is_zero() -> None:
    points = simulated_study(2, 500, seed=1)
    points[3][1] = False
    ascending = fit_curves([*SIZES.astype(int)], points, resamples=50)
    reversed_order = fit_curves([*SIZES[::-1].astype(int)], points[::-1], resamples=50)
    assert ascending.errors[1, 3] == 50 / 500
    assert np.array_equal(ascending.errors, reversed_order.errors)
    assert np.isfinite([float(x) for law in ascending.laws for x in (law.a, law.b, law.c)]).all()
