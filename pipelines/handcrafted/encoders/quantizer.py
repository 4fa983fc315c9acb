"""Product quantization of feature rows (Jegou, Douze & Schmid, PAMI 2011): 8 values in one byte.

This is how Sanchez & Perronnin (CVPR 2011) store Fisher vectors: each group of 8 adjacent values
becomes the index of the nearest of 256 centers, which are fitted to that group alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding, pad

from harness.contract import Context

GROUP_VALUES = 8  # values per byte
CENTERS = 256
ITERATIONS = 15  # of k-means; the error then decreases by less than 1 % per iteration
GROUPS_AT_A_TIME = 64  # groups whose distances to all centers exist at a time
MAX_SAMPLE = 2048  # rows to which the centers are fitted


@dataclass(frozen=True)
class ProductQuantizer:
    """Encodes rows as one byte per group of 8 values, and decodes them.

    Rows are padded with zeros to a multiple of 8 values.

    Parameters
    ----------
    centers : (groups, 256, 8) float32
    features : 0-d int64
        Values per row.
    """

    centers: Tensor
    features: Tensor

    def encode(self, rows: Tensor) -> Tensor:
        """Return codes: (n, features) -> (n, groups) uint8."""
        groups = split_groups(rows)
        codes = torch.empty(groups.shape[:2], dtype=torch.uint8, device=rows.device)
        for start in range(0, len(groups), GROUPS_AT_A_TIME):
            span = slice(start, start + GROUPS_AT_A_TIME)
            codes[span] = nearest_centers(groups[span], self.centers[span]).to(torch.uint8)
        return codes.T.contiguous()

    def decode(self, codes: Tensor) -> Tensor:
        """Return rows: (n, groups) uint8 -> (n, features) float32."""
        offsets = CENTERS * torch.arange(codes.shape[1], device=codes.device)
        values = embedding(codes.long() + offsets, self.centers.flatten(0, 1))
        return values.flatten(1)[:, : int(self.features)]


def fit_quantizer(sample: Tensor, context: Context) -> ProductQuantizer:
    """Fit the centers of each group by k-means, started from the sample's first 256 rows.

    A center without values stays where it is.

    Parameters
    ----------
    sample : (s, features) float32
        This process's share: every `world_size`-th row of the sample, from `rank` on.
    """
    groups = split_groups(sample)
    centers = [_fit_groups(some, context) for some in groups.split(GROUPS_AT_A_TIME)]
    return ProductQuantizer(torch.cat(centers), torch.tensor(sample.shape[1], device=sample.device))


def _fit_groups(values: Tensor, context: Context) -> Tensor:
    """Fit the centers of groups of values: (g, s, 8) -> (g, 256, 8)."""
    groups, rows, _ = values.shape
    centers = _first_rows(values, context)
    offsets = CENTERS * torch.arange(groups, device=values.device)[:, None]
    ones = torch.ones(groups * rows, 1, dtype=torch.float64, device=values.device)
    terms = torch.cat([values.reshape(-1, GROUP_VALUES).double(), ones], dim=1)
    for _ in range(ITERATIONS):
        sums = terms.new_zeros(groups * CENTERS, GROUP_VALUES + 1)
        sums.index_add_(0, (nearest_centers(values, centers) + offsets).flatten(), terms)
        totals, counts = context.sum(sums).view(groups, CENTERS, -1).split([GROUP_VALUES, 1], dim=2)
        centers = torch.where(counts > 0, totals / counts, centers.double()).float()
    return centers


def _first_rows(values: Tensor, context: Context) -> Tensor:
    """Return the first 256 rows of the whole sample, repeated where it has fewer: (g, 256, 8)."""
    count = torch.tensor(float(values.shape[1]), dtype=torch.float64, device=values.device)
    total = int(context.sum(count))
    rows = values.new_zeros(len(values), min(total, CENTERS), GROUP_VALUES)
    share = rows[:, context.rank :: context.world_size]
    share.copy_(values[:, : share.shape[1]])
    return context.sum(rows)[:, torch.arange(CENTERS, device=values.device) % max(total, 1)]


def split_groups(rows: Tensor) -> Tensor:
    """Split rows into zero-padded groups: (n, features) -> (groups, n, 8)."""
    padded = pad(rows, (0, -rows.shape[1] % GROUP_VALUES))
    return padded.unflatten(1, (-1, GROUP_VALUES)).transpose(0, 1).contiguous()


def nearest_centers(values: Tensor, centers: Tensor) -> Tensor:
    """Return the index of the center nearest to each of (g, n, 8) in its group: (g, n) int64."""
    half_squares = centers.square().sum(2)[:, None] / -2
    return torch.baddbmm(half_squares, values, centers.transpose(1, 2)).argmax(2)
