"""k-means codebooks (Lloyd's algorithm) of rows that are distributed over processes.

It is our own because scikit-learn's runs in one process and on the CPU only, and because clusters
are grown by splitting here: the result depends neither on random starts nor on which process has
which row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

from harness.contract import Context
from pipelines.handcrafted.chunks import chunk_size

CHUNK_ROWS = 1024  # rows compared with all centers at a time
GROWTH = 1.5  # of the number of clusters, per split
GROWING_ITERATIONS = 2  # after each split
TOLERANCE = 1e-4  # relative decrease of the energy per iteration at which Lloyd's algorithm stops
# Mean of the upper half of a normal variable, in standard deviations.
HALF_NORMAL_MEAN = math.sqrt(2 / math.pi)


@dataclass(frozen=True)
class Codebook:
    """Visual words.

    Parameters
    ----------
    centers : (words, d) float32
    """

    centers: Tensor

    def nearest(self, rows: Tensor) -> Tensor:
        """Return the index of the word nearest to each row: (..., d) -> (...) int64."""
        return self._closeness(rows).argmax(-1)

    def neighbors(self, rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return the `count` words nearest to each row, or all words if there are fewer.

        Parameters
        ----------
        rows : (..., d)
        count

        Returns
        -------
        squared_distances : (..., count) float32
            Increasing.
        words : (..., count) int64
        """
        closeness, words = self._closeness(rows).topk(min(count, len(self.centers)))
        return (rows.square().sum(-1, keepdim=True) - 2 * closeness).clamp_(min=0), words

    def assign(self, rows: Tensor) -> Tensor:
        """Return 1 for the word nearest to each row, else 0: (..., d) -> (..., words)."""
        one_hot = rows.new_zeros(*rows.shape[:-1], len(self.centers))
        return one_hot.scatter_(-1, self.nearest(rows)[..., None], 1.0)

    def _closeness(self, rows: Tensor) -> Tensor:
        """Return (|row|^2 - |row - word|^2) / 2 for each word: (..., d) -> (..., words)."""
        return linear(rows, self.centers, self._offsets)

    @cached_property
    def _offsets(self) -> Tensor:
        return self.centers.square().sum(1) / -2


@dataclass(frozen=True)
class Clusters:
    """The rows of all processes, each assigned to the nearest of k centers.

    An empty cluster has its center as its mean and variance 0.

    Parameters
    ----------
    counts : (k,) float64
        Rows in each cluster.
    means, variances : (k, d) float64
    """

    counts: Tensor
    means: Tensor
    variances: Tensor

    @cached_property
    def energies(self) -> Tensor:
        """(k,) sum of the squared distances of a cluster's rows to its mean."""
        return self.counts * self.variances.sum(1)

    def pad_with_empty(self, size: int) -> Clusters:
        """Return these clusters followed by empty ones, `size` in all."""
        missing = size - len(self.counts)
        counts = pad(self.counts, (0, missing))
        means, variances = (
            pad(values, (0, 0, 0, missing)) for values in (self.means, self.variances)
        )
        return Clusters(counts, means, variances)

    def centers_after_splits(self) -> Tensor:
        """Return centers (k, d) with which no cluster is empty.

        Each empty cluster takes half of one of the clusters with the greatest energy, split across
        the dimension in which it varies most.
        """
        empty = (self.counts == 0).nonzero().squeeze(1)
        by_energy = self.energies.argsort(descending=True, stable=True)
        candidates = max(1, len(by_energy) - len(empty))
        donors = by_energy[torch.arange(len(empty), device=empty.device) % candidates]
        largest, dimension = self.variances[donors].max(1)
        offset = torch.zeros_like(self.means[donors]).scatter_(
            1, dimension[:, None], HALF_NORMAL_MEAN * largest.sqrt()[:, None]
        )
        centers = self.means.clone()
        centers[empty] = self.means[donors] + offset
        centers[donors] = self.means[donors] - offset
        return centers


def fit_kmeans(sample: Tensor, words: int, context: Context, *, iterations: int = 100) -> Codebook:
    """Return a codebook of this many words; see `cluster`."""
    return Codebook(cluster(sample, words, context, iterations=iterations).means.float())


def cluster(sample: Tensor, words: int, context: Context, *, iterations: int) -> Clusters:
    """Cluster the rows of all processes by k-means.

    It starts with one cluster and splits those of greatest energy (after Linde, Buzo & Gray, IEEE
    Transactions on Communications 1980). Where there are fewer distinct rows than words, some
    words are equal.

    Parameters
    ----------
    sample : (s, d) float32
        This process's share of the rows.
    words
    context
    iterations
        At most, after the last split.
    """
    clusters = assign_to_centers(sample, sample.new_zeros(1, sample.shape[1]), context)
    while len(clusters.counts) < words:
        size = min(math.ceil(GROWTH * len(clusters.counts)), words)
        padded = clusters.pad_with_empty(size)
        clusters = lloyd(sample, padded, context, iterations=GROWING_ITERATIONS)
    return lloyd(sample, clusters, context, iterations=iterations)


def first_rows(sample: Tensor, count: int, context: Context) -> Tensor:
    """Return the first rows of all processes, the processes taking turns.

    Parameters
    ----------
    sample : (s, d)
        This process's share of the rows.
    count
        Rows to return.

    Returns
    -------
    Tensor : (count, d)
        Fewer if there are fewer rows; one zero row if there are none.
    """
    here = sample.new_zeros(count, sample.shape[1])
    here[: len(sample)] = sample[:count]
    available = context.gather(torch.tensor(min(len(sample), count), device=sample.device))
    is_row = torch.arange(count, device=sample.device)[:, None] < available
    rows = context.gather(here).transpose(0, 1)[is_row][:count]
    return rows if len(rows) else here[:1]


def lloyd(sample: Tensor, clusters: Clusters, context: Context, *, iterations: int) -> Clusters:
    """Return the clusters after at most this many iterations of Lloyd's algorithm."""
    energy = math.inf
    for _ in range(iterations):
        clusters = assign_to_centers(sample, clusters.centers_after_splits(), context)
        before, energy = energy, float(clusters.energies.sum())
        if before - energy <= TOLERANCE * energy:
            break
    return clusters


def assign_to_centers(sample: Tensor, centers: Tensor, context: Context) -> Clusters:
    """Return the clusters of all processes' rows around these centers (k, d)."""
    codebook = Codebook(centers.float())
    d = centers.shape[1]
    sums = torch.zeros(len(centers), 2 * d + 1, dtype=torch.float64, device=sample.device)
    for rows in sample.split(chunk_size(CHUNK_ROWS, sample.device)):
        exact = rows.double()
        moments = torch.cat([exact, exact.square(), torch.ones_like(exact[:, :1])], dim=1)
        sums.index_add_(0, codebook.nearest(rows), moments)
    first, second, counts = context.sum(sums).split([d, d, 1], dim=1)
    means = torch.where(counts > 0, first / counts, centers.double())
    variances = torch.where(counts > 0, second / counts - means.square(), 0).clamp_(min=0)
    return Clusters(counts.squeeze(1), means, variances)
