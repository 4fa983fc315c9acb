"""Principal component analysis of rows that are distributed over processes.

It is our own because scikit-learn's runs in one process and on the CPU only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

from harness.contract import Context
from pipelines.handcrafted.chunks import chunk_size

CHUNK_ROWS = 4096  # rows held in float64 at a time


@dataclass(frozen=True)
class PCA:
    """Projects rows (..., d) to (..., dims).

    Parameters
    ----------
    mean : (d,) float32
    projection : (dims, d) float32
    """

    mean: Tensor
    projection: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        return linear(rows, self.projection, -(self.projection @ self.mean))


def fit_pca(sample: Tensor, dims: int, context: Context, *, whiten: float | None = None) -> PCA:
    """Return the projection on the directions in which the rows of all processes vary most.

    The entry of greatest absolute value in each direction is positive, so that the signs do not
    depend on the solver.

    Parameters
    ----------
    sample : (s, d) float32
        This process's share of the rows.
    dims
        Directions to keep, or d if that is smaller.
    context
    whiten : float or None
        None does not whiten. Otherwise each direction is divided by its standard deviation, after
        this fraction of the largest variance is added to every variance. VLFeat's
        apps/recognition does so, with 0.01 for its VLAD.
    """
    mean, covariance = _mean_and_covariance(sample, context)
    variances, directions = (values.flip(-1) for values in torch.linalg.eigh(covariance))
    projection = directions.T[:dims]
    largest = projection.gather(1, projection.abs().argmax(1, keepdim=True))
    projection = projection * largest.sign()
    if whiten is not None:
        regularized = variances[:dims, None] + whiten * variances[0]
        projection = projection / regularized.clamp(min=1e-12).sqrt()
    # Different processors may find directions that differ in the last bits.
    return PCA(mean.float(), context.broadcast(projection.float().contiguous()))


def _mean_and_covariance(sample: Tensor, context: Context) -> tuple[Tensor, Tensor]:
    """Return the mean (d,) and the covariance (d, d) of all processes' rows, float64."""
    d = sample.shape[1]
    total = torch.zeros(d, dtype=torch.float64, device=sample.device)
    products = total.new_zeros(d, d)
    count = context.sum(total.new_tensor(float(len(sample)))).clamp(min=1)
    chunks = sample.split(chunk_size(CHUNK_ROWS, sample.device))
    for rows in chunks:
        total += rows.sum(0, dtype=torch.float64)
    mean = context.sum(total) / count
    for rows in chunks:
        centered = rows.double() - mean
        products.addmm_(centered.T, centered)
    return mean, context.sum(products) / count
