"""Super-vector coding (Zhou, Yu, Zhang & Huang, ECCV 2010)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipelines.handcrafted.encoders.kmeans import Codebook
from pipelines.handcrafted.encoders.pooling import PooledEncoder


@dataclass(frozen=True)
class SuperVector(PooledEncoder):
    """words x (1 + d) values: for each word, of which a share p of the region's N descriptors is nearest to it,

        constant * sqrt(p)   and   the sum of those descriptors' differences from the word / (N * sqrt(p)).

    This is the published pooling of hard codes (constant, difference), each divided by sqrt(p).

    constant  what a descriptor's presence weighs beside its difference from the word, in the descriptors' unit
    """

    codebook: Codebook
    constant: float

    @property
    def length(self) -> int:
        words, d = self.codebook.centers.shape
        return words * (1 + d)

    def weigh(self, rows: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
        return [(self.codebook.votes(rows), rows)]

    def finish(self, sums: Sequence[tuple[Tensor, Tensor]], counts: Tensor) -> Tensor:
        [(masses, totals)] = sums
        masses, counts = masses[..., None], counts[..., None]
        roots = (masses / counts).sqrt()
        differences = (totals - masses * self.codebook.centers) / (
            counts * torch.where(masses > 0, roots, 1)
        )
        return torch.cat([self.constant * roots, differences], dim=-1).flatten(2)
