"""Principal component analysis of rows spread over processes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

from harness.contract import Context
from pipelines.handcrafted.chunks import at_once

CHUNK_ROWS = 4096  # rows that exist in float64 at one time


@dataclass(frozen=True)
class PCA:
    """Rows (..., d) to (..., dims). mean (d,), projection (dims, d); float32."""

    mean: Tensor
    projection: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        return linear(rows, self.projection, -(self.projection @ self.mean))


def fit_pca(sample: Tensor, dims: int, context: Context, *, whiten: float | None = None) -> PCA:
    """The `dims` directions (d, if that is less) in which the rows of all processes vary most, the most varied first.

    sample  (s, d) float32, this process's share of the rows
    whiten  None: not at all. Else each direction is divided by its standard deviation, after this share of the largest variance
            was added to every variance, as VLFeat's apps/recognition does (0.01 for its VLAD)
    The entry of greatest size in each direction is positive.
    """
    d = sample.shape[1]
    total = torch.zeros(d, dtype=torch.float64, device=sample.device)
    products = total.new_zeros(d, d)
    count = context.sum(total.new_tensor(float(len(sample)))).clamp(min=1)
    for rows in sample.split(at_once(CHUNK_ROWS, sample.device)):
        total += rows.sum(0, dtype=torch.float64)
    mean = context.sum(total) / count
    for rows in sample.split(at_once(CHUNK_ROWS, sample.device)):
        centerd = rows.double() - mean
        products.addmm_(centerd.T, centerd)
    variances, directions = (
        part.flip(-1) for part in torch.linalg.eigh(context.sum(products) / count)
    )
    projection = directions.T[:dims]
    projection = projection * projection.gather(1, projection.abs().argmax(1, keepdim=True)).sign()
    if whiten is not None:
        projection = (
            projection / (variances[:dims, None] + whiten * variances[0]).clamp(min=1e-12).sqrt()
        )
    # Processes on unlike processors may find directions that differ in the last bits.
    return PCA(mean.float(), context.broadcast(projection.float().contiguous()))
