"""The homogeneous kernel map of the chi2 kernel: histograms for a linear classifier.

It follows Vedaldi & Zisserman, PAMI 2012. scikit-learn's AdditiveChi2Sampler has another window
and no `gamma`, so it cannot reproduce VLFeat's published figures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

SUBDIVISIONS = 4096  # of a period, in the integrals for the spectrum


@dataclass(frozen=True)
class Chi2Map:
    """Maps histograms (..., bins) to (..., bins * (2 order + 1)).

    Inner products of the mapped histograms approximate the sum over bins of

        (x y)^(gamma / 2) / cosh(log(x / y) / 2),   for gamma = 1 the chi2 kernel 2 x y / (x + y).

    This is vl_homkermap with its defaults (rectangular window, tuned period): the values of a bin
    are adjacent, and negative values are mapped by their absolute value and keep the sign. VLFeat's
    phow_caltech101 uses order 1 and gamma 0.5.
    """

    order: int = 1
    gamma: float = 1.0

    def __call__(self, histograms: Tensor) -> Tensor:
        frequencies, scales = (values.to(histograms) for values in self._spectrum)
        size = histograms.abs()
        angles = size.clamp(min=torch.finfo(size.dtype).tiny).log()[..., None] * frequencies
        oscillating = torch.stack([angles[..., 1:].cos(), angles[..., 1:].sin()], -1).flatten(-2)
        waves = torch.cat([angles[..., :1].cos(), oscillating], -1)
        amplitudes = (histograms.sign() * size.pow(self.gamma / 2))[..., None]
        return (waves * scales * amplitudes).flatten(-2)

    @cached_property
    def _spectrum(self) -> tuple[Tensor, Tensor]:
        """Angular frequencies (order + 1,) of the logarithm, and scales (2 order + 1,)."""
        # Tuned by the authors for this kernel and window.
        period = max(8.80 * math.sqrt(self.order + 4.44) - 12.6, 1.0)
        frequencies = 2 * math.pi / period * torch.arange(3 * (self.order + 1), dtype=torch.float64)
        logarithms = torch.linspace(-period / 2, period / 2, SUBDIVISIONS + 1, dtype=torch.float64)
        waves = (frequencies[:, None] * logarithms).cos() / (logarithms / 2).cosh()
        spectrum = torch.trapezoid(waves, logarithms) / period
        kept = (spectrum > 0).nonzero().squeeze(1)[: self.order + 1]
        constant, others = spectrum[kept].sqrt().split([1, self.order])
        paired = (math.sqrt(2) * others).repeat_interleave(2)
        return frequencies[kept], torch.cat([constant, paired])
