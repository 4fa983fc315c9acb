"""k-means codebooks (Lloyd's algorithm), learned from rows spread over processes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

from harness.contract import Context
from pipelines.handcrafted.chunks import at_once

CHUNK_ROWS = 1024  # rows compared with all centers at a time
GROWTH = 1.5  # of the number of clusters at a time
GROWING_ITERATIONS = 2  # each time
TOLERANCE = 1e-4  # relative decrease of the energy in one iteration at which it stops
HALF_NORMAL = math.sqrt(
    2 / math.pi
)  # the mean of a normal variable's upper half, in standard deviations


@dataclass(frozen=True)
class Codebook:
    """Visual words. centers (words, d) float32."""

    centers: Tensor

    def nearest(self, rows: Tensor) -> Tensor:
        """The word nearest to each of the rows (..., d): (...) int64."""
        return self._closeness(rows).argmax(-1)

    def neighbors(self, rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Squared distances of the rows (..., d) to their `count` nearest words, all if there are fewer, and those words: (..., count) each,
        nearest first.
        """
        closeness, words = self._closeness(rows).topk(min(count, len(self.centers)))
        return (rows.square().sum(-1, keepdim=True) - 2 * closeness).clamp_(min=0), words

    def votes(self, rows: Tensor) -> Tensor:
        """(..., words): 1 for the word nearest to each of the rows (..., d), else 0."""
        votes = rows.new_zeros(*rows.shape[:-1], len(self.centers))
        return votes.scatter_(-1, self.nearest(rows)[..., None], 1.0)

    def _closeness(self, rows: Tensor) -> Tensor:
        """(..., words): half of the row's squared length, less half of its squared distance to the word."""
        return linear(rows, self.centers, self._offsets)

    @cached_property
    def _offsets(self) -> Tensor:
        return self.centers.square().sum(1) / -2


@dataclass(frozen=True)
class Clusters:
    """The rows of all processes, each with the center nearest to it: counts (k,), means and variances (k, d), float64.

    An empty cluster keeps its center for a mean and has no variance.
    """

    counts: Tensor
    means: Tensor
    variances: Tensor

    @cached_property
    def energies(self) -> Tensor:
        """(k,) sums of squared distances to the mean."""
        return self.counts * self.variances.sum(1)

    def with_empty(self, size: int) -> Clusters:
        """These and so many empty ones that there are `size`."""
        more = size - len(self.counts)
        return Clusters(
            pad(self.counts, (0, more)),
            *(pad(part, (0, 0, 0, more)) for part in (self.means, self.variances)),
        )

    def without_empty(self) -> Tensor:
        """Centers (k, d): the means, but an empty cluster halves one of greatest energy with it, across its most varied dimension."""
        empty = (self.counts == 0).nonzero().squeeze(1)
        fullest = self.energies.argsort(descending=True, stable=True)
        givers = fullest[
            torch.arange(len(empty), device=empty.device) % max(1, len(fullest) - len(empty))
        ]
        largest, dimension = self.variances[givers].max(1)
        step = torch.zeros_like(self.means[givers]).scatter_(
            1, dimension[:, None], HALF_NORMAL * largest.sqrt()[:, None]
        )
        centers = self.means.clone()
        centers[empty] = self.means[givers] + step
        centers[givers] = self.means[givers] - step
        return centers


def fit_kmeans(sample: Tensor, words: int, context: Context, *, iterations: int = 100) -> Codebook:
    """A codebook of `words` words from this process's share of the rows, (s, d) float32. See `cluster`."""
    return Codebook(cluster(sample, words, context, iterations=iterations).means.float())


def cluster(sample: Tensor, words: int, context: Context, *, iterations: int) -> Clusters:
    """k-means on the rows of all processes, of which this one has (s, d) float32.

    It starts with one cluster and splits those of greatest energy (after Linde, Buzo & Gray, IEEE Transactions on Communications
    1980). So no rows need to be drawn, and the result does not depend on which process has which row. Where there are fewer
    distinct rows than words, some words are equal.
    """
    clusters = measured(sample, sample.new_zeros(1, sample.shape[1]), context)
    while len(clusters.counts) < words:
        size = min(math.ceil(GROWTH * len(clusters.counts)), words)
        clusters = lloyd(sample, clusters.with_empty(size), context, iterations=GROWING_ITERATIONS)
    return lloyd(sample, clusters, context, iterations=iterations)


def first_rows(sample: Tensor, count: int, context: Context) -> Tensor:
    """(count, d), or fewer: of all processes' rows, (s, d) each, the first ones, the processes taking turns; of no rows a zero."""
    own = sample.new_zeros(count, sample.shape[1])
    own[: len(sample)] = sample[:count]
    held = context.gather(torch.tensor(min(len(sample), count), device=sample.device))
    is_there = torch.arange(count, device=sample.device)[:, None] < held
    found = context.gather(own).transpose(0, 1)[is_there][:count]
    return found if len(found) else own[:1]


def lloyd(sample: Tensor, clusters: Clusters, context: Context, *, iterations: int) -> Clusters:
    """The clusters after at most so many iterations."""
    energy = math.inf
    for _ in range(iterations):
        clusters = measured(sample, clusters.without_empty(), context)
        before, energy = energy, float(clusters.energies.sum())
        if before - energy <= TOLERANCE * energy:
            break
    return clusters


def measured(sample: Tensor, centers: Tensor, context: Context) -> Clusters:
    """The clusters around these centers (k, d)."""
    codebook = Codebook(centers.float())
    d = centers.shape[1]
    sums = torch.zeros(len(centers), 2 * d + 1, dtype=torch.float64, device=sample.device)
    for rows in sample.split(at_once(CHUNK_ROWS, sample.device)):
        exact = rows.double()
        sums.index_add_(
            0,
            codebook.nearest(rows),
            torch.cat([exact, exact.square(), torch.ones_like(exact[:, :1])], dim=1),
        )
    first, second, counts = context.sum(sums).split([d, d, 1], dim=1)
    means = torch.where(counts > 0, first / counts, centers.double())
    variances = torch.where(counts > 0, second / counts - means.square(), 0).clamp_(min=0)
    return Clusters(counts.squeeze(1), means, variances)
