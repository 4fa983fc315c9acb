"""Product quantization of feature rows (Jegou, Douze & Schmid, PAMI 2011): every 8 values become one byte.

As Sanchez & Perronnin (CVPR 2011) keep Fisher vectors: of each 8 neighboring values the nearest of 256 centers, learned for those 8 alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding, pad

from harness.contract import Context

VALUES = 8  # that one byte stands for
CENTERS = 256
ITERATIONS = 15  # of k-means; the error then falls by less than a hundredth an iteration
GROUPS_AT_A_TIME = 64  # whose distances to all centers exist at one time
SAMPLE = 2048  # rows that the centers are learned from


@dataclass(frozen=True)
class ProductQuantizer:
    """Rows (n, features) to codes (n, groups) uint8 and back. centers (groups, 256, 8) float32; features, 0-d int64: values in a row.

    Rows are taken as if zeros followed until the last group has 8 values.
    """

    centers: Tensor
    features: Tensor

    def encode(self, rows: Tensor) -> Tensor:
        groups = grouped(rows)
        codes = torch.empty(groups.shape[:2], dtype=torch.uint8, device=rows.device)
        for start in range(0, len(groups), GROUPS_AT_A_TIME):
            some = slice(start, start + GROUPS_AT_A_TIME)
            codes[some] = nearest(groups[some], self.centers[some]).to(torch.uint8)
        return codes.T.contiguous()

    def decode(self, codes: Tensor) -> Tensor:
        first = CENTERS * torch.arange(codes.shape[1], device=codes.device)
        values = embedding(codes.long() + first, self.centers.flatten(0, 1))
        return values.flatten(1)[:, : int(self.features)]


def fit_quantizer(sample: Tensor, context: Context) -> ProductQuantizer:
    """Centers from the sample of all processes, of which this one has every `world`-th row: (s, features) float32.

    k-means from the sample's first 256 rows, group by group; a center without values stays where it is.
    """
    groups = grouped(sample)
    parts = [_fit_groups(some, context) for some in groups.split(GROUPS_AT_A_TIME)]
    return ProductQuantizer(torch.cat(parts), torch.tensor(sample.shape[1], device=sample.device))


def _fit_groups(values: Tensor, context: Context) -> Tensor:
    """(g, s, 8) to centers (g, 256, 8)."""
    groups = len(values)
    centers = _first_rows(values, context)
    offsets = CENTERS * torch.arange(groups, device=values.device)[:, None]
    ones = torch.ones(
        values.shape[0] * values.shape[1], 1, dtype=torch.float64, device=values.device
    )
    terms = torch.cat([values.reshape(-1, VALUES).double(), ones], dim=1)
    for _ in range(ITERATIONS):
        sums = torch.zeros(groups * CENTERS, VALUES + 1, dtype=torch.float64, device=values.device)
        sums.index_add_(0, (nearest(values, centers) + offsets).flatten(), terms)
        totals, counts = context.sum(sums).view(groups, CENTERS, -1).split([VALUES, 1], dim=2)
        centers = torch.where(counts > 0, totals / counts, centers.double()).float()
    return centers


def _first_rows(values: Tensor, context: Context) -> Tensor:
    """(g, 256, 8): the first rows of the whole sample, over and over where there are fewer than 256."""
    total = int(
        context.sum(torch.tensor(float(values.shape[1]), dtype=torch.float64, device=values.device))
    )
    rows = values.new_zeros(len(values), min(total, CENTERS), VALUES)
    own = rows[:, context.rank :: context.world_size]
    own.copy_(values[:, : own.shape[1]])
    return context.sum(rows)[:, torch.arange(CENTERS, device=values.device) % max(total, 1)]


def grouped(rows: Tensor) -> Tensor:
    """(n, features) to (groups, n, 8)."""
    return (
        pad(rows, (0, -rows.shape[1] % VALUES))
        .unflatten(1, (-1, VALUES))
        .transpose(0, 1)
        .contiguous()
    )


def nearest(values: Tensor, centers: Tensor) -> Tensor:
    """The center nearest to each of (g, n, 8) values in its group: (g, n) int64."""
    half_squares = centers.square().sum(2)[:, None] / -2
    return torch.baddbmm(half_squares, values, centers.transpose(1, 2)).argmax(2)
