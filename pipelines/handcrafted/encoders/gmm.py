"""Gaussian mixtures with diagonal covariances, fitted by expectation maximization to rows spread over processes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import linear

from harness.contract import Context
from pipelines.handcrafted.chunks import at_once
from pipelines.handcrafted.encoders.kmeans import HALF_NORMAL, cluster, first_rows, lloyd, measured

CHUNK_ROWS = 1024  # rows whose posteriors exist at one time
# The settings of vl_gmm and, for the floor, of its caller in VLFeat's apps/recognition/trainEncoder.m.
KMEANS_ITERATIONS = 5
TOLERANCE = 1e-5  # relative change of the log-likelihood in one iteration at which it stops
LEAST_VARIANCE = 1e-4  # in units of the largest variance of a dimension of the rows
LEAST_WEIGHT = 1e-6  # what weighs less is no component
LEAST_MASS = (
    1e-2  # a component with fewer rows, or with a smaller share of what is its due, is empty
)


@dataclass(frozen=True)
class GMM:
    """means and variances (components, d), weights (components,) that add up to 1; float32."""

    means: Tensor
    variances: Tensor
    weights: Tensor

    @cached_property
    def center(self) -> Tensor:
        """(d,) the mean of the mixture. Moments are taken about it, since far from 0 sums of them would lose digits."""
        return self.weights @ self.means

    def moments(self, rows: Tensor) -> Tensor:
        """The rows (..., d) less the center, and the squares of that: (..., 2 d), of the rows' type."""
        d = rows.shape[-1]
        both = rows.new_empty(*rows.shape[:-1], 2 * d)
        torch.sub(rows, self.center, out=both[..., :d])
        torch.square(both[..., :d], out=both[..., d:])
        return both

    def log_joint(self, moments: Tensor) -> Tensor:
        """Log-densities (..., components) of rows, given by their moments, with the components' weights."""
        return linear(moments, *self._coefficients)

    @cached_property
    def _coefficients(self) -> tuple[Tensor, Tensor]:
        """A log-density is linear in the moments: (components, 2 d) and (components,)."""
        means, variances = (self.means - self.center).double(), self.variances.double()
        weights = torch.where(self.weights < LEAST_WEIGHT, 0, self.weights).double()
        constants = weights.log() - 0.5 * (
            means.square() / variances + (2 * math.pi * variances).log()
        ).sum(1)
        return torch.cat([means / variances, -0.5 / variances], dim=1).float(), constants.float()


def fit_gmm(
    sample: Tensor,
    components: int,
    context: Context,
    *,
    from_rows: bool = False,
    iterations: int = 100,
) -> GMM:
    """A mixture for the rows of all processes, of which this one has (s, d) float32: k-means, then expectation maximization.

    from_rows  k-means starts from `first_rows`, as that of vl_gmm from rows drawn at random: many components then lie where rows are dense,
               where splits of greatest energy put them where rows differ
    Variances have a floor. A component that runs empty takes half of another.
    """
    spread = measured(sample, sample.new_zeros(1, sample.shape[1]), context).variances
    floor = max(LEAST_VARIANCE * float(spread.max()), 1e-12)
    if from_rows:
        drawn = measured(sample, first_rows(sample, components, context), context).with_empty(
            components
        )
        clusters = lloyd(sample, drawn, context, iterations=KMEANS_ITERATIONS)
    else:
        clusters = cluster(sample, components, context, iterations=KMEANS_ITERATIONS)
    gmm = mixture(clusters.counts, clusters.means, clusters.variances, floor)
    likelihood = -math.inf
    for _ in range(iterations):
        masses, sums, now = expectation(gmm, sample, context)
        before, likelihood = likelihood, now
        if abs(likelihood - before) <= TOLERANCE * abs(likelihood):
            break
        gmm = maximization(gmm, masses, sums, floor)
    return gmm


def expectation(gmm: GMM, sample: Tensor, context: Context) -> tuple[Tensor, Tensor, float]:
    """Over the rows of all processes: posteriors summed (components,), moments summed with them (components, 2 d), log-likelihood.

    Posteriors are float32, sums float64.
    """
    components, d = gmm.means.shape
    sums = torch.zeros(components, 2 * d, dtype=torch.float64, device=sample.device)
    masses, likelihood = sums.new_zeros(components), sums.new_zeros(())
    for rows in sample.split(at_once(CHUNK_ROWS, sample.device)):
        moments = gmm.moments(rows.double())
        joint = gmm.log_joint(moments.float())
        posteriors = joint.softmax(1)
        most, component = posteriors.max(1)
        likelihood += (joint.gather(1, component[:, None]).squeeze(1) - most.log()).sum(
            dtype=torch.float64
        )
        exact = posteriors.double()
        masses += exact.sum(0)
        sums.addmm_(exact.T, moments)
    return context.sum(masses), context.sum(sums), float(context.sum(likelihood))


def maximization(gmm: GMM, masses: Tensor, sums: Tensor, floor: float) -> GMM:
    """The mixture under which rows with these sums are likeliest."""
    first, second = (sums / masses[:, None].clamp(min=1e-300)).chunk(2, dim=1)
    return mixture(masses, first + gmm.center, second - first.square(), floor)


def mixture(masses: Tensor, means: Tensor, variances: Tensor, floor: float) -> GMM:
    """A GMM of these components, of float64, after each empty one has taken half of the one with the greatest sum of squared deviations.

    vl_gmm asks for the one that adds most to the entropy; of many dimensions of small variance, as descriptors have, it is the lightest.
    """
    present = masses + 1e-9  # were there no rows at all, the weights would be equal
    weights, means, variances = present / present.sum(), means.clone(), variances.clamp(min=floor)
    due = max(1.0, float(masses.mean()))
    is_empty = masses < LEAST_MASS * due
    for empty in is_empty.nonzero().flatten().tolist():
        if is_empty.all():
            break
        giver = int((weights * variances.sum(1)).masked_fill(is_empty, -math.inf).argmax())
        is_empty[empty] = False
        dimension = int(variances[giver].argmax())
        step = HALF_NORMAL * variances[giver, dimension].sqrt()
        weights[giver] /= 2
        variances[giver, dimension] = (variances[giver, dimension] - step.square()).clamp(min=floor)
        weights[empty], means[empty], variances[empty] = (
            weights[giver],
            means[giver],
            variances[giver],
        )
        means[giver, dimension] += step
        means[empty, dimension] -= step
    return GMM(means.float(), variances.float(), (weights / weights.sum()).float())
