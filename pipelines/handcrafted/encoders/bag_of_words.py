"""Histograms of visual words (Csurka et al., ECCV workshop 2004), with hard or soft assignment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pipelines.handcrafted.encoders.kmeans import Codebook
from pipelines.handcrafted.encoders.pooling import PooledEncoder


@dataclass(frozen=True)
class BagOfWords(PooledEncoder):
    """The number of descriptors that have each word as their nearest."""

    codebook: Codebook

    @property
    def length(self) -> int:
        return len(self.codebook.centers)

    def weights_and_terms(self, descriptors: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
        return [(self.codebook.assign(descriptors), descriptors[..., :0])]

    def codes_from_sums(self, sums: Sequence[tuple[Tensor, Tensor]], counts: Tensor) -> Tensor:
        [(votes, _)] = sums
        return votes


@dataclass(frozen=True)
class SoftBagOfWords(BagOfWords):
    """Each descriptor divides one vote among its nearest words by a Gaussian of the distance.

    This is the codeword uncertainty of van Gemert et al., Kernel codebooks (ECCV 2008), over few
    words as in Chatfield et al. (BMVC 2011; 5 neighbors there).

    Parameters
    ----------
    sigma
        Standard deviation of the Gaussian, in the unit of the descriptors.
    neighbors
        Words that share a vote, or all words if there are fewer.
    """

    sigma: float
    neighbors: int = 5

    def weights_and_terms(self, descriptors: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
        squared_distances, words = self.codebook.neighbors(descriptors, self.neighbors)
        shares = (squared_distances / (-2 * self.sigma**2)).softmax(-1)
        votes = descriptors.new_zeros(*descriptors.shape[:-1], self.length)
        return [(votes.scatter_(-1, words, shares), descriptors[..., :0])]
