"""Power laws of error against the number of training images, and where two of them cross.

The law is error = a + b n^-c. It minimizes squared relative residuals, so that errors of 60 % and
of 6 % count alike, subject to a >= 0, b >= 0 and 0.01 <= c <= 3. With fewer than four sizes a is 0:
three sizes would leave nothing to check a law of three parameters by.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

SIZES_TO_FIT_A = 4  # sizes from which on `a` is fitted
EXPONENTS = (0.01, 3.0)
EXTRAPOLATION_FACTOR = 4.0  # times the largest measured size: no law is evaluated beyond that
CHUNK_RESAMPLES = 100  # at once, so that 100,000 test images need 40 MB


@dataclass(frozen=True)
class PowerLaw:
    """error = a + b n^-c in percent, for one or many fits.

    Parameters
    ----------
    a, b, c : (...) float
        All of one shape.
    """

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray

    def __call__(self, n: np.ndarray) -> np.ndarray:
        """Return the errors (..., points) at the sizes `n` (points,)."""
        return self.a[..., None] + self.b[..., None] * n ** -self.c[..., None]


def fit_power_law(n: np.ndarray, errors: np.ndarray) -> PowerLaw:
    """Fit a law to each row of errors, with the least sum of squared relative residuals.

    For each exponent the best a and b solve a linear problem; the exponent is searched on a grid
    that is refined around the best value.

    Parameters
    ----------
    n : (points,) float
        Numbers of images, at least two of them different.
    errors : (..., points) float
        In percent, all above 0.

    Returns
    -------
    PowerLaw
        With parameters of shape (...).

    Raises
    ------
    ValueError
        If there are fewer than two sizes.
    """
    distinct = len(set(n.tolist()))
    if distinct < 2:
        raise ValueError(f"a power law needs at least two sizes, got {distinct}")
    middle = math.exp(np.log(n).mean())
    rows = errors.reshape(-1, len(n))
    low, high = EXPONENTS
    best, width = np.full((len(rows), 1), (low + high) / 2), (high - low) / 2
    while width > 1e-5:
        grid = np.clip(best + width * np.linspace(-1, 1, 61), low, high)
        a, b, misfit = _fit_linear_part(n / middle, rows, grid, fit_a=distinct >= SIZES_TO_FIT_A)
        chosen = misfit.argmin(axis=1)[:, None]
        best, a, b = (np.take_along_axis(values, chosen, axis=1) for values in (grid, a, b))
        width /= 20
    shape = errors.shape[:-1]
    return PowerLaw(a.reshape(shape), (b * middle**best).reshape(shape), best.reshape(shape))


def _fit_linear_part(
    n: np.ndarray, errors: np.ndarray, c: np.ndarray, *, fit_a: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a, b and the sum of squared relative residuals for the exponents `c`.

    `errors` is (fits, points); `c` and each returned array are (fits, exponents).
    """
    # The two columns of the design matrix, divided by the errors.
    u = 1 / errors[:, None, :]
    v = n ** -c[:, :, None] * u
    su, sv, suu, suv, svv = u.sum(-1), v.sum(-1), (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    candidates = [(np.zeros_like(sv), sv / svv)]  # a = 0
    if fit_a:
        determinant = suu * svv - suv**2
        # Where the law is so flat that a and b cannot be told apart, the candidates with a = 0 or
        # b = 0 are as good.
        singular = determinant <= 1e-12 * suu * svv
        determinant = np.where(singular, 1.0, determinant)
        a = np.where(singular, -1.0, (su * svv - sv * suv) / determinant)
        candidates += [
            (a, (sv * suu - su * suv) / determinant),
            (np.broadcast_to(su / suu, sv.shape), np.zeros_like(sv)),  # b = 0
        ]
    a, b = (np.stack(values) for values in zip(*candidates, strict=True))
    misfit = ((1 - a[..., None] * u - b[..., None] * v) ** 2).sum(-1)
    misfit[(a < 0) | (b < 0)] = np.inf
    chosen = misfit.argmin(axis=0)[None]
    a, b, misfit = (np.take_along_axis(values, chosen, axis=0)[0] for values in (a, b, misfit))
    return a, b, misfit


def crossing(before: PowerLaw, after: PowerLaw, smallest: float, largest: float) -> np.ndarray:
    """Return the size from which on `after` has a lower error than `before`.

    Parameters
    ----------
    before, after : PowerLaw
        With parameters of shape (...).
    smallest, largest : float
        The measured sizes; laws are compared up to EXTRAPOLATION_FACTOR times the largest.

    Returns
    -------
    (...) float
        0 where `after` is lower over the whole range, infinity where it is not at its end.
    """
    n = sizes_in_range(smallest, largest)
    gap = after(n) - before(n)
    last_not_better = np.where(gap >= 0, np.arange(len(n)), -1).max(axis=-1)
    index = np.clip(last_not_better, 0, len(n) - 2)
    left, right = (
        np.take_along_axis(gap, (index + step)[..., None], axis=-1)[..., 0] for step in (0, 1)
    )
    fraction = left / np.where(left == right, 1.0, left - right)
    interpolated = n[index] * (n[index + 1] / n[index]) ** np.clip(fraction, 0, 1)
    interpolated = np.where(last_not_better == len(n) - 1, np.inf, interpolated)
    return np.where(last_not_better < 0, 0.0, interpolated)


def sizes_in_range(smallest: float, largest: float, count: int = 400) -> np.ndarray:
    """Return `count` sizes up to EXTRAPOLATION_FACTOR times the largest, evenly spaced in log."""
    return np.geomspace(smallest, EXTRAPOLATION_FACTOR * largest, count)


def resample_errors(points: Sequence[np.ndarray], *, resamples: int, seed: int = 0) -> np.ndarray:
    """Return error rates for resampled test images and subset seeds (bootstrap).

    A resample uses the same test images at every size and for every pipeline, and at each size the
    same seeds for every pipeline, which keeps the pairing of the measurements. With few seeds the
    spread is understated: k seeds show (k - 1) / k of their variance, one seed none.

    Parameters
    ----------
    points : one (pipelines, seeds, images) bool array per size
        Whether each test image was misclassified.

    Returns
    -------
    (resamples, pipelines, points) float32
        Fractions.
    """
    rng = np.random.default_rng(seed)
    images = points[0].shape[2]
    chunks = []
    for size in _chunk_sizes(resamples):
        draws = rng.integers(images, size=(size, images)) + images * np.arange(size)[:, None]
        counts = np.bincount(draws.ravel(), minlength=size * images)
        weights = counts.reshape(size, images).astype(np.float32)
        chunks.append(np.stack([_mean_of_seeds(point, weights, rng) for point in points], axis=2))
    return np.concatenate(chunks)


def _mean_of_seeds(wrong: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return error rates (resamples, pipelines) of weighted images, averaged over drawn seeds."""
    pipelines, seeds, images = wrong.shape
    rates = weights @ wrong.reshape(-1, images).T.astype(np.float32) / images
    rates = rates.reshape(-1, pipelines, seeds)
    drawn_seeds = rng.integers(seeds, size=(len(weights), 1, seeds))
    drawn_rates = np.take_along_axis(rates, np.broadcast_to(drawn_seeds, rates.shape), axis=2)
    return drawn_rates.mean(axis=2)


def _chunk_sizes(total: int) -> Iterator[int]:
    return (min(CHUNK_RESAMPLES, total - start) for start in range(0, total, CHUNK_RESAMPLES))


@dataclass(frozen=True)
class Crossing:
    """A number of images with its 95 % percentile interval.

    0 means below the measured range, infinity not within range.

    Parameters
    ----------
    missing : float
        Fraction of resamples that do not cross within range.
    """

    n: float
    low: float
    high: float
    missing: float


@dataclass(frozen=True)
class FittedCurves:
    """The laws of several pipelines, and the laws of resampled measurements.

    Parameters
    ----------
    n : (points,) float
        Training images, ascending.
    errors : (pipelines, points) float
        Measured, in percent, means over the seeds.
    laws : tuple of PowerLaw
        One per pipeline, fitted to `errors`.
    resampled : tuple of PowerLaw
        One per pipeline, with parameters of shape (resamples,).
    residuals : (pipelines,) float
        Root mean square of measured minus fitted, in percentage points.
    """

    n: np.ndarray
    errors: np.ndarray
    laws: tuple[PowerLaw, ...]
    resampled: tuple[PowerLaw, ...]
    residuals: np.ndarray

    @property
    def largest_extrapolated(self) -> float:
        """The number of images beyond which no law is evaluated."""
        return EXTRAPOLATION_FACTOR * float(self.n.max())

    def crossing(self, before: int, after: int) -> Crossing:
        """Return from how many images on pipeline number `after` has the lower error."""
        ends = float(self.n.min()), float(self.n.max())
        resampled = np.sort(crossing(self.resampled[before], self.resampled[after], *ends))
        return Crossing(
            n=float(crossing(self.laws[before], self.laws[after], *ends)),
            low=float(resampled[math.floor(0.025 * len(resampled))]),
            high=float(resampled[math.ceil(0.975 * len(resampled)) - 1]),
            missing=float(np.isinf(resampled).mean()),
        )


def fit_curves(
    n: Sequence[int], points: Sequence[np.ndarray], *, resamples: int = 2_000, seed: int = 0
) -> FittedCurves:
    """Fit laws to pipelines measured at the same sizes, seeds and test images.

    An error of 0 counts as half a test image, since no law of this form reaches 0.

    Parameters
    ----------
    n : sequence of int
        Training images of each point.
    points : one (pipelines, seeds, images) bool array per size
        Whether each test image was misclassified.
    """
    order = np.argsort(n)
    images = np.asarray(n, dtype=float)[order]
    points = [points[i] for i in order]
    half_image_percent = 50 / points[0].shape[2]
    measured = np.stack([100 * point.mean(axis=(1, 2)) for point in points], axis=1)
    errors = np.maximum(measured, half_image_percent)
    resampled = 100 * resample_errors(points, resamples=resamples, seed=seed)
    resampled = np.maximum(resampled, half_image_percent)
    laws = tuple(fit_power_law(images, row) for row in errors)
    fitted = np.stack([law(images) for law in laws])
    return FittedCurves(
        n=images,
        errors=errors,
        laws=laws,
        resampled=tuple(fit_power_law(images, resampled[:, i]) for i in range(len(laws))),
        residuals=np.sqrt(((errors - fitted) ** 2).mean(axis=1)),
    )
