"""The homogeneous kernel map for the chi2 kernel (Vedaldi & Zisserman, PAMI 2012): histograms for a linear classifier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

SUBDIVISIONS = 4096  # of a period, in the integrals for the spectrum


@dataclass(frozen=True)
class Chi2Map:
    """Histograms (..., bins) to (..., bins * (2 order + 1)), whose inner products are nearly the sums over bins of

        (x y)^(gamma / 2) / cosh(log(x / y) / 2),   for gamma = 1 the chi2 kernel 2 x y / (x + y).

    As vl_homkermap with its defaults (rectangular window, tuned period): a bin's values stand together, negative ones are mapped
    like their size and keep the sign. VLFeat's phow_caltech101 uses order 1 and gamma 0.5.
    """

    order: int = 1
    gamma: float = 1.0

    def __call__(self, histograms: Tensor) -> Tensor:
        frequencies, scales = (part.to(histograms) for part in self._spectrum)
        size = histograms.abs()
        angles = size.clamp(min=torch.finfo(size.dtype).tiny).log()[..., None] * frequencies
        waves = torch.cat(
            [
                angles[..., :1].cos(),
                torch.stack([angles[..., 1:].cos(), angles[..., 1:].sin()], -1).flatten(-2),
            ],
            -1,
        )
        return (waves * scales * (histograms.sign() * size.pow(self.gamma / 2))[..., None]).flatten(
            -2
        )

    @cached_property
    def _spectrum(self) -> tuple[Tensor, Tensor]:
        """Angular frequencies (order + 1,) of the logarithm, and the scales (2 order + 1,) of the waves with them."""
        period = max(
            8.80 * math.sqrt(self.order + 4.44) - 12.6, 1.0
        )  # tuned by the authors for this kernel and window
        frequencies = 2 * math.pi / period * torch.arange(3 * (self.order + 1), dtype=torch.float64)
        logarithms = torch.linspace(-period / 2, period / 2, SUBDIVISIONS + 1, dtype=torch.float64)
        waves = (frequencies[:, None] * logarithms).cos() / (logarithms / 2).cosh()
        spectrum = torch.trapezoid(waves, logarithms) / period
        kept = (spectrum > 0).nonzero().squeeze(1)[: self.order + 1]
        constant, others = spectrum[kept].sqrt().split([1, self.order])
        return frequencies[kept], torch.cat(
            [constant, (math.sqrt(2) * others).repeat_interleave(2)]
        )
