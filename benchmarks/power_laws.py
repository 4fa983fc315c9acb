"""Error against the number of training images: power laws, where two of them cross, and how sure that is.

The law is error = a + b n^-c. It is fitted to relative residuals, as errors of 60 % and of 6 % are to be met equally well, with a >= 0 and
b >= 0, and c between 0.01 and 3. Three sizes cannot hold three numbers with anything left to check them by: below four sizes a is 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

FREE_FROM = 4  # sizes from which on `a` is fitted
EXPONENTS = (0.01, 3.0)
REACH = 4.0  # times the largest measured size: no law is asked beyond that
CHUNK = 100  # resamples at once, so that 100,000 test images need 40 MB


@dataclass(frozen=True)
class PowerLaw:
    """error = a + b n^-c in percent, for one or many fits: a, b, c (...)."""

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray

    def __call__(self, n: np.ndarray) -> np.ndarray:
        """(..., len(n)) errors at sizes n, (points,)."""
        return self.a[..., None] + self.b[..., None] * n ** -self.c[..., None]


def fit_power_law(n: np.ndarray, errors: np.ndarray) -> PowerLaw:
    """The laws of least squared relative residuals.

    n       (points,) images, two or more different sizes
    errors  (..., points) in percent, all above 0: one row a fit
    For each exponent the best a and b are those of a linear problem; the exponent is searched on a grid that closes in on the best.
    Raises ValueError for fewer than two sizes.
    """
    if len(set(n.tolist())) < 2:
        raise ValueError(f"a power law needs two sizes or more, got {len(set(n.tolist()))}")
    middle = math.exp(np.log(n).mean())
    rows = errors.reshape(-1, len(n))
    low, high = EXPONENTS
    best, width = np.full((len(rows), 1), (low + high) / 2), (high - low) / 2
    while width > 1e-5:
        grid = np.clip(best + width * np.linspace(-1, 1, 61), low, high)
        a, b, misfit = _linear_part(n / middle, rows, grid, free=len(set(n.tolist())) >= FREE_FROM)
        chosen = misfit.argmin(axis=1)[:, None]
        best, a, b = (np.take_along_axis(values, chosen, axis=1) for values in (grid, a, b))
        width /= 20
    shape = errors.shape[:-1]
    return PowerLaw(a.reshape(shape), (b * middle**best).reshape(shape), best.reshape(shape))


def _linear_part(
    n: np.ndarray, errors: np.ndarray, c: np.ndarray, *, free: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(fits, exponents) each: a, b, and the sum of squared relative residuals, for exponents c (fits, exponents)."""
    u = (
        1 / errors[:, None, :]
    )  # the design matrix, a column for a and one for b, divided by the errors
    v = n ** -c[:, :, None] * u
    su, sv, suu, suv, svv = u.sum(-1), v.sum(-1), (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    candidates = [(np.zeros_like(sv), sv / svv)]  # a = 0
    if free:
        determinant = suu * svv - suv**2
        alike = (
            determinant <= 1e-12 * suu * svv
        )  # so flat a law that b stands for a: the candidates below and above are as good
        determinant = np.where(alike, 1.0, determinant)
        candidates += [
            (
                np.where(alike, -1.0, (su * svv - sv * suv) / determinant),
                (sv * suu - su * suv) / determinant,
            ),
            (np.broadcast_to(su / suu, sv.shape), np.zeros_like(sv)),  # b = 0
        ]
    a, b = (np.stack(values) for values in zip(*candidates, strict=True))
    misfit = ((1 - a[..., None] * u - b[..., None] * v) ** 2).sum(-1)
    misfit[(a < 0) | (b < 0)] = np.inf  # not of this form
    chosen = misfit.argmin(axis=0)[None]
    a, b, misfit = (np.take_along_axis(values, chosen, axis=0)[0] for values in (a, b, misfit))
    return a, b, misfit


def crossing(before: PowerLaw, after: PowerLaw, smallest: float, largest: float) -> np.ndarray:
    """(...) the size from which on, up to REACH times the largest measured one, `after` errs less than `before`.

    0 where it does from the smallest measured size on, infinity where it does not at the end of the range.
    """
    n = sizes(smallest, largest)
    gap = after(n) - before(n)
    last = np.where(gap >= 0, np.arange(len(n)), -1).max(
        axis=-1
    )  # the last size at which `after` is not better
    inside = np.clip(last, 0, len(n) - 2)
    left, right = (
        np.take_along_axis(gap, (inside + step)[..., None], axis=-1)[..., 0] for step in (0, 1)
    )
    share = left / np.where(left == right, 1.0, left - right)
    found = n[inside] * (n[inside + 1] / n[inside]) ** np.clip(share, 0, 1)
    return np.where(last < 0, 0.0, np.where(last == len(n) - 1, np.inf, found))


def sizes(smallest: float, largest: float, count: int = 400) -> np.ndarray:
    """(count,) from the smallest measured size to REACH times the largest, evenly on a logarithmic scale."""
    return np.geomspace(smallest, REACH * largest, count)


def resampled_errors(points: Sequence[np.ndarray], *, resamples: int, seed: int = 0) -> np.ndarray:
    """(resamples, pipelines, points) error rates as fractions, as other test images and other subset seeds would have it.

    points  one a size: bool (pipelines, seeds, n), whether test image n is wrong
    Of a resample the test images are the same at every size and for every pipeline, and at each size the seeds are for every pipeline:
    the pairing of the measurements is kept. Few seeds show less than their spread: of k, (k - 1) / k of the variance, and one seed none.
    """
    rng = np.random.default_rng(seed)
    images = points[0].shape[2]
    chunks = []
    for size in _chunks(resamples):
        draws = rng.integers(images, size=(size, images)) + images * np.arange(size)[:, None]
        counts = (
            np.bincount(draws.ravel(), minlength=size * images)
            .reshape(size, images)
            .astype(np.float32)
        )
        chunks.append(np.stack([_mean_of_seeds(point, counts, rng) for point in points], axis=2))
    return np.concatenate(chunks)


def _mean_of_seeds(wrong: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(resamples, pipelines): error rates of resampled images, averaged over resampled seeds."""
    pipelines, seeds, images = wrong.shape
    rates = (counts @ wrong.reshape(-1, images).T.astype(np.float32) / images).reshape(
        -1, pipelines, seeds
    )
    drawn = rng.integers(seeds, size=(len(counts), 1, seeds))
    return np.take_along_axis(rates, np.broadcast_to(drawn, rates.shape), axis=2).mean(axis=2)


def _chunks(total: int) -> Iterator[int]:
    return (min(CHUNK, total - start) for start in range(0, total, CHUNK))


@dataclass(frozen=True)
class Curves:
    """The laws of several pipelines, and the same laws of resampled measurements: one row a resample.

    n          (points,) training images, ascending
    errors     (pipelines, points) measured, in percent, means over the seeds
    laws       one a pipeline; `resampled` likewise
    residuals  (pipelines,) root mean square of measured minus fitted, in points
    """

    n: np.ndarray
    errors: np.ndarray
    laws: tuple[PowerLaw, ...]
    resampled: tuple[PowerLaw, ...]
    residuals: np.ndarray

    @property
    def largest_asked(self) -> float:
        return REACH * float(self.n.max())

    def crossing(self, before: int, after: int) -> Crossing:
        """From how many images on pipeline number `after` errs less than number `before`."""
        ends = float(self.n.min()), float(self.n.max())
        found = np.sort(crossing(self.resampled[before], self.resampled[after], *ends))
        return Crossing(
            n=float(crossing(self.laws[before], self.laws[after], *ends)),
            low=float(found[math.floor(0.025 * len(found))]),
            high=float(found[math.ceil(0.975 * len(found)) - 1]),
            missing=float(np.isinf(found).mean()),
        )


@dataclass(frozen=True)
class Crossing:
    """A number of images, with its 95 % percentile interval. 0: below the range that was measured; infinity: not in range.

    missing  share of resamples that do not cross in range
    """

    n: float
    low: float
    high: float
    missing: float


def fit_curves(
    n: Sequence[int], points: Sequence[np.ndarray], *, resamples: int = 2_000, seed: int = 0
) -> Curves:
    """Laws of several pipelines that were measured at the same sizes, with the same seeds and on the same test images.

    n       images of each point; points as for `resampled_errors`
    An error of 0 counts as half a test image: no law of this form reaches 0.
    """
    order = np.argsort(n)
    found = np.asarray(n, dtype=float)[order]
    points = [points[i] for i in order]
    least = 50 / points[0].shape[2]
    errors = np.maximum(
        np.stack([100 * point.mean(axis=(1, 2)) for point in points], axis=1), least
    )
    drawn = np.maximum(100 * resampled_errors(points, resamples=resamples, seed=seed), least)
    laws = tuple(fit_power_law(found, row) for row in errors)
    fitted = np.stack([law(found) for law in laws])
    return Curves(
        n=found,
        errors=errors,
        laws=laws,
        resampled=tuple(fit_power_law(found, drawn[:, number]) for number in range(len(laws))),
        residuals=np.sqrt(((errors - fitted) ** 2).mean(axis=1)),
    )
