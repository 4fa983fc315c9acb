"""Fisher vectors (Sanchez, Perronnin, Mensink & Verbeek, IJCV 2013): mean and variance terms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pipelines.handcrafted.encoders.gmm import GMM, LEAST_WEIGHT
from pipelines.handcrafted.encoders.pooling import PooledEncoder

SHARP = 32  # deviations of a component between its mean and the mixture's


@dataclass(frozen=True)
class FisherVector(PooledEncoder):
    """All mean terms (components x d), then all variance terms, as `vl_fisher` has them without its flags.

    The improved Fisher vector (Perronnin, Sanchez & Mensink, ECCV 2010) is `unit(signed_root(code))`.
    """

    gmm: GMM

    @property
    def length(self) -> int:
        return 2 * self.gmm.means.numel()

    def weigh(self, rows: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
        moments = self.gmm.moments(rows)
        posteriors = self.gmm.log_joint(moments).softmax(-1)
        if not len(self._sharp):
            return [(posteriors, moments)]
        return [
            (posteriors, moments),
            (posteriors[..., self._sharp].double(), self.gmm.moments(rows.double())),
        ]

    def finish(self, sums: Sequence[tuple[Tensor, Tensor]], counts: Tensor) -> Tensor:
        terms = self._terms(*sums[0], counts, slice(None))
        for masses, products in sums[1:]:
            terms[..., self._sharp, :] = self._terms(masses, products, counts, self._sharp).to(
                terms.dtype
            )
        return terms.flatten(2)

    def _terms(
        self, masses: Tensor, sums: Tensor, counts: Tensor, components: Tensor | slice
    ) -> Tensor:
        """(b, r, 2, components, d) mean and variance terms of these components."""
        gmm, masses = self.gmm, masses[..., None]
        means, variances, weights = (
            part[components].to(sums.dtype) for part in (gmm.means, gmm.variances, gmm.weights)
        )
        means = means - gmm.center
        first, second = sums.chunk(2, dim=-1)
        mean_terms = (first - masses * means) / variances.sqrt()
        variance_terms = (
            (second - 2 * means * first + masses * (means.square() - variances))
            / variances
            / math.sqrt(2)
        )
        scale = torch.where(weights < LEAST_WEIGHT, 0, weights.rsqrt())[:, None] / counts[..., None]
        return torch.stack([mean_terms * scale, variance_terms * scale], dim=2)

    @cached_property
    def _sharp(self) -> Tensor:
        """Components so narrow, and so far out, that float32 sums of moments lose too many digits: flat patches make some."""
        distances = (self.gmm.means - self.gmm.center).abs() / self.gmm.variances.sqrt()
        return (distances.amax(1) > SHARP).nonzero().squeeze(1)
