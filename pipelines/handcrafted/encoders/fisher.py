"""Fisher vectors (Sanchez, Perronnin, Mensink & Verbeek, IJCV 2013): mean and variance terms.

They are our own because they are 5 times as fast as VLFeat's `vl_fisher` (docs/results/speed.md),
run on a GPU, and encode all regions of a pyramid in one pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pipelines.handcrafted.encoders.gmm import GMM, MIN_WEIGHT
from pipelines.handcrafted.encoders.pooling import PooledEncoder

# A component is narrow if the mixture's mean is this many of its deviations away from its mean.
NARROW_DEVIATIONS = 32


@dataclass(frozen=True)
class FisherVector(PooledEncoder):
    """All mean terms (components * d), then all variance terms, as `vl_fisher` without flags.

    The improved Fisher vector (Perronnin, Sanchez & Mensink, ECCV 2010) is
    `l2_normalize(signed_sqrt(code))`.
    """

    gmm: GMM

    @property
    def length(self) -> int:
        return 2 * self.gmm.means.numel()

    def weights_and_terms(self, descriptors: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
        moments = self.gmm.moments(descriptors)
        posteriors = self.gmm.log_joint(moments).softmax(-1)
        if not len(self._narrow_components):
            return [(posteriors, moments)]
        exact_posteriors = posteriors[..., self._narrow_components].double()
        exact_moments = self.gmm.moments(descriptors.double())
        return [(posteriors, moments), (exact_posteriors, exact_moments)]

    def codes_from_sums(self, sums: Sequence[tuple[Tensor, Tensor]], counts: Tensor) -> Tensor:
        terms = self._fisher_terms(*sums[0], counts, slice(None))
        narrow = self._narrow_components
        for masses, moment_sums in sums[1:]:
            exact_terms = self._fisher_terms(masses, moment_sums, counts, narrow)
            terms[..., narrow, :] = exact_terms.to(terms.dtype)
        return terms.flatten(2)

    def _fisher_terms(
        self, masses: Tensor, moment_sums: Tensor, counts: Tensor, components: Tensor | slice
    ) -> Tensor:
        """Return the mean and variance terms of these components: (b, r, 2, components, d)."""
        gmm, masses = self.gmm, masses[..., None]
        means, variances, weights = (
            values[components].to(moment_sums.dtype)
            for values in (gmm.means, gmm.variances, gmm.weights)
        )
        means = means - gmm.center
        first, second = moment_sums.chunk(2, dim=-1)
        mean_terms = (first - masses * means) / variances.sqrt()
        deviations = second - 2 * means * first + masses * (means.square() - variances)
        variance_terms = deviations / variances / math.sqrt(2)
        scale = torch.where(weights < MIN_WEIGHT, 0, weights.rsqrt())[:, None] / counts[..., None]
        return torch.stack([mean_terms * scale, variance_terms * scale], dim=2)

    @cached_property
    def _narrow_components(self) -> Tensor:
        """Components for which float32 sums of moments would lose too many digits.

        They are narrow and far from the mixture's mean; flat patches cause some.
        """
        distances = (self.gmm.means - self.gmm.center).abs() / self.gmm.variances.sqrt()
        return (distances.amax(1) > NARROW_DEVIATIONS).nonzero().squeeze(1)
