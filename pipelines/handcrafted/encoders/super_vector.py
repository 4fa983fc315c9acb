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
    """Super-vector codes of words * (1 + d) values.

    For each word, to which a fraction p of the region's N descriptors is nearest, these are

        constant * sqrt(p)   and   sum of those descriptors' differences from it / (N * sqrt(p)).

    This is the published pooling of hard codes (constant, difference), each divided by sqrt(p).

    Parameters
    ----------
    codebook
    constant
        Weight of a descriptor's presence relative to its difference from the word, in the unit of
        the descriptors.
    """

    codebook: Codebook
    constant: float

    @property
    def length(self) -> int:
        words, d = self.codebook.centers.shape
        return words * (1 + d)

    def weights_and_terms(self, descriptors: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
        return [(self.codebook.assign(descriptors), descriptors)]

    def codes_from_sums(self, sums: Sequence[tuple[Tensor, Tensor]], counts: Tensor) -> Tensor:
        [(assigned, totals)] = sums
        assigned, counts = assigned[..., None], counts[..., None]
        roots = (assigned / counts).sqrt()
        differences = totals - assigned * self.codebook.centers
        differences = differences / (counts * torch.where(assigned > 0, roots, 1))
        return torch.cat([self.constant * roots, differences], dim=-1).flatten(2)
