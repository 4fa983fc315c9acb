"""Gaussian mixtures with diagonal covariances, of rows that are distributed over processes.

They are fitted by expectation maximization (EM). The code is our own because scikit-learn's
GaussianMixture runs in one process, in the memory of all rows and on the CPU only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import linear

from harness.contract import Context
from pipelines.handcrafted.chunks import chunk_size
from pipelines.handcrafted.encoders.kmeans import (
    HALF_NORMAL_MEAN,
    Clusters,
    assign_to_centers,
    cluster,
    first_rows,
    lloyd,
)

CHUNK_ROWS = 1024  # rows whose posteriors exist at a time
# The settings of vl_gmm and, for the floor, of VLFeat's apps/recognition/trainEncoder.m.
KMEANS_ITERATIONS = 5
TOLERANCE = 1e-5  # relative change of the log-likelihood per iteration at which EM stops
MIN_VARIANCE = 1e-4  # in units of the largest variance of a dimension of the rows
MIN_WEIGHT = 1e-6  # components of less weight are ignored
MIN_MASS = 1e-2  # components of less mass, in units of the mean mass and at least 1 row, are empty


@dataclass(frozen=True)
class GMM:
    """A Gaussian mixture with diagonal covariances.

    Parameters
    ----------
    means, variances : (components, d) float32
    weights : (components,) float32
        With sum 1.
    """

    means: Tensor
    variances: Tensor
    weights: Tensor

    @cached_property
    def center(self) -> Tensor:
        """(d,) mean of the mixture.

        Moments are taken about it, because sums of moments far from 0 would lose digits.
        """
        return self.weights @ self.means

    def moments(self, rows: Tensor) -> Tensor:
        """Return rows less the center, and their squares: (..., d) -> (..., 2 d)."""
        d = rows.shape[-1]
        moments = rows.new_empty(*rows.shape[:-1], 2 * d)
        torch.sub(rows, self.center, out=moments[..., :d])
        torch.square(moments[..., :d], out=moments[..., d:])
        return moments

    def log_joint(self, moments: Tensor) -> Tensor:
        """Return log(weight * density) of each component: (..., 2 d) -> (..., components)."""
        return linear(moments, *self._coefficients)

    @cached_property
    def _coefficients(self) -> tuple[Tensor, Tensor]:
        """(components, 2 d) and (components,): log-densities are linear in the moments."""
        means, variances = (self.means - self.center).double(), self.variances.double()
        weights = torch.where(self.weights < MIN_WEIGHT, 0, self.weights).double()
        exponents = means.square() / variances + (2 * math.pi * variances).log()
        constants = weights.log() - 0.5 * exponents.sum(1)
        return torch.cat([means / variances, -0.5 / variances], dim=1).float(), constants.float()


def fit_gmm(
    sample: Tensor,
    components: int,
    context: Context,
    *,
    start_from_rows: bool = False,
    iterations: int = 100,
) -> GMM:
    """Fit a mixture to the rows of all processes: k-means, then EM.

    Variances have a floor. A component that becomes empty takes half of another one.

    Parameters
    ----------
    sample : (s, d) float32
        This process's share of the rows.
    components
    context
    start_from_rows
        Start k-means from `first_rows`, as vl_gmm starts from randomly drawn rows: many components
        then lie where rows are dense. Otherwise clusters of greatest energy are split, which puts
        components where rows differ.
    iterations
        Of EM, at most.
    """
    one_center = sample.new_zeros(1, sample.shape[1])
    total_variances = assign_to_centers(sample, one_center, context).variances
    floor = max(MIN_VARIANCE * float(total_variances.max()), 1e-12)
    clusters = _initial_clusters(sample, components, context, start_from_rows)
    gmm = mixture_from_moments(clusters.counts, clusters.means, clusters.variances, floor)
    likelihood = -math.inf
    for _ in range(iterations):
        masses, sums, new_likelihood = expectation(gmm, sample, context)
        before, likelihood = likelihood, new_likelihood
        if abs(likelihood - before) <= TOLERANCE * abs(likelihood):
            break
        gmm = maximization(gmm, masses, sums, floor)
    return gmm


def _initial_clusters(
    sample: Tensor, components: int, context: Context, start_from_rows: bool
) -> Clusters:
    if not start_from_rows:
        return cluster(sample, components, context, iterations=KMEANS_ITERATIONS)
    centers = first_rows(sample, components, context)
    clusters = assign_to_centers(sample, centers, context).pad_with_empty(components)
    return lloyd(sample, clusters, context, iterations=KMEANS_ITERATIONS)


def expectation(gmm: GMM, sample: Tensor, context: Context) -> tuple[Tensor, Tensor, float]:
    """Sum over the rows of all processes what `maximization` needs.

    Posteriors are computed in float32, sums in float64.

    Returns
    -------
    masses : (components,) float64
        Sums of the posteriors.
    sums : (components, 2 d) float64
        Sums of the moments, weighted by the posteriors.
    log_likelihood : float
    """
    components, d = gmm.means.shape
    sums = torch.zeros(components, 2 * d, dtype=torch.float64, device=sample.device)
    masses, likelihood = sums.new_zeros(components), sums.new_zeros(())
    for rows in sample.split(chunk_size(CHUNK_ROWS, sample.device)):
        moments = gmm.moments(rows.double())
        log_joint = gmm.log_joint(moments.float())
        posteriors = log_joint.softmax(1)
        largest, component = posteriors.max(1)
        log_densities = log_joint.gather(1, component[:, None]).squeeze(1) - largest.log()
        likelihood += log_densities.sum(dtype=torch.float64)
        exact = posteriors.double()
        masses += exact.sum(0)
        sums.addmm_(exact.T, moments)
    return context.sum(masses), context.sum(sums), float(context.sum(likelihood))


def maximization(gmm: GMM, masses: Tensor, sums: Tensor, floor: float) -> GMM:
    """Return the mixture of greatest likelihood, given the sums that `expectation` returns."""
    first, second = (sums / masses[:, None].clamp(min=1e-300)).chunk(2, dim=1)
    return mixture_from_moments(masses, first + gmm.center, second - first.square(), floor)


def mixture_from_moments(masses: Tensor, means: Tensor, variances: Tensor, floor: float) -> GMM:
    """Return the mixture of these components, after splits have filled the empty ones.

    An empty component takes half of the one with the greatest sum of squared deviations. vl_gmm
    takes the one that adds most to the entropy, but in many dimensions of small variance, as
    descriptors have, that is the lightest one.

    Parameters
    ----------
    masses : (components,) float64
    means, variances : (components, d) float64
    floor
        Smallest variance.
    """
    present = masses + 1e-9  # without any rows, the weights are equal
    weights, means, variances = present / present.sum(), means.clone(), variances.clamp(min=floor)
    is_empty = masses < MIN_MASS * max(1.0, float(masses.mean()))
    for empty in is_empty.nonzero().flatten().tolist():
        if is_empty.all():
            break
        energies = weights * variances.sum(1)
        donor = int(energies.masked_fill(is_empty, -math.inf).argmax())
        is_empty[empty] = False
        dimension = int(variances[donor].argmax())
        offset = HALF_NORMAL_MEAN * variances[donor, dimension].sqrt()
        remaining = variances[donor, dimension] - offset.square()
        weights[donor] /= 2
        variances[donor, dimension] = remaining.clamp(min=floor)
        for values in (weights, means, variances):
            values[empty] = values[donor]
        means[donor, dimension] += offset
        means[empty, dimension] -= offset
    return GMM(means.float(), variances.float(), (weights / weights.sum()).float())
