"""VLAD, vectors of locally aggregated descriptors (Jegou, Douze, Schmid & Perez, CVPR 2010)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pipelines.handcrafted.encoders.code_normalization import l2_normalize, signed_sqrt
from pipelines.handcrafted.encoders.kmeans import Codebook
from pipelines.handcrafted.encoders.pooling import PooledEncoder


@dataclass(frozen=True)
class VLAD(PooledEncoder):
    """The sum of the differences of a word's descriptors from it: words * d values.

    Each word's sum gets a signed square root and unit length. `l2_normalize(code)` equals VLFeat's
    vl_vlad with SquareRoot and NormalizeComponents, as its apps/recognition uses it.
    """

    codebook: Codebook

    @property
    def length(self) -> int:
        return self.codebook.centers.numel()

    def weights_and_terms(self, descriptors: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
        return [(self.codebook.assign(descriptors), descriptors)]

    def codes_from_sums(self, sums: Sequence[tuple[Tensor, Tensor]], counts: Tensor) -> Tensor:
        [(assigned, totals)] = sums
        differences = totals - assigned[..., None] * self.codebook.centers
        return l2_normalize(signed_sqrt(differences)).flatten(2)
