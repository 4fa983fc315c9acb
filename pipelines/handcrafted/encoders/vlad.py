"""VLAD, vectors of locally aggregated descriptors (Jegou, Douze, Schmid & Perez, CVPR 2010)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pipelines.handcrafted.encoders.kmeans import Codebook
from pipelines.handcrafted.encoders.normalization import signed_root, unit
from pipelines.handcrafted.encoders.pooling import PooledEncoder


@dataclass(frozen=True)
class VLAD(PooledEncoder):
    """For each word the sum of its descriptors' differences from it: square-rooted, then of length 1; words x d values.

    `unit(code)` is what VLFeat's apps/recognition uses: vl_vlad with SquareRoot and NormalizeComponents.
    """

    codebook: Codebook

    @property
    def length(self) -> int:
        return self.codebook.centers.numel()

    def weigh(self, rows: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
        return [(self.codebook.votes(rows), rows)]

    def finish(self, sums: Sequence[tuple[Tensor, Tensor]], counts: Tensor) -> Tensor:
        [(masses, totals)] = sums
        differences = totals - masses[..., None] * self.codebook.centers
        return unit(signed_root(differences)).flatten(2)
