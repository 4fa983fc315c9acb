"""Histograms of visual words (Csurka et al., ECCV workshop 2004), of whole votes or of shared ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pipelines.handcrafted.encoders.kmeans import Codebook
from pipelines.handcrafted.encoders.pooling import PooledEncoder


@dataclass(frozen=True)
class BagOfWords(PooledEncoder):
    """How many descriptors have each word as their nearest."""

    codebook: Codebook

    @property
    def length(self) -> int:
        return len(self.codebook.centers)

    def weigh(self, rows: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
        return [(self.codebook.votes(rows), rows[..., :0])]

    def finish(self, sums: Sequence[tuple[Tensor, Tensor]], counts: Tensor) -> Tensor:
        [(votes, _)] = sums
        return votes


@dataclass(frozen=True)
class SoftBagOfWords(BagOfWords):
    """Each descriptor shares one vote among its nearest words, in proportion to a Gaussian kernel of the distance.

    That is the codeword uncertainty of van Gemert et al., Kernel codebooks (ECCV 2008), over few words as in Chatfield et al. (BMVC
    2011; 5 neighbors there).

    sigma       the kernel's standard deviation, in the descriptors' unit
    neighbors  words that share a vote; at most as many as there are
    """

    sigma: float
    neighbors: int = 5

    def weigh(self, rows: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
        squares, words = self.codebook.neighbors(rows, self.neighbors)
        shares = (squares / (-2 * self.sigma**2)).softmax(-1)
        votes = rows.new_zeros(*rows.shape[:-1], self.length).scatter_(-1, words, shares)
        return [(votes, rows[..., :0])]
