"""The encodings that a `bag.BagOfDescriptors` can use: a codebook, an encoder, a normalization.

Each class is a `bag.Encoding`: it holds settings only; `fit` returns the codebook as a state, and
`encode` takes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.contract import Context, State
from pipelines.handcrafted.chunks import chunk_size
from pipelines.handcrafted.encoders.bag_of_words import BagOfWords, SoftBagOfWords
from pipelines.handcrafted.encoders.chi2_map import Chi2Map
from pipelines.handcrafted.encoders.code_normalization import (
    l1_normalize,
    l2_normalize,
    signed_sqrt,
)
from pipelines.handcrafted.encoders.fisher import FisherVector
from pipelines.handcrafted.encoders.gmm import GMM, fit_gmm
from pipelines.handcrafted.encoders.kmeans import Codebook, fit_kmeans
from pipelines.handcrafted.encoders.super_vector import SuperVector
from pipelines.handcrafted.encoders.vlad import VLAD
from pipelines.handcrafted.state_dicts import tensor_fields

DESCRIPTORS_PER_WORD = 1000  # to fit the codebook to, as in VLFeat's apps/recognition
MIN_SIGMA = 1e-6  # of soft assignment: all descriptors of featureless images are 0
CHUNK_ROWS = 4096  # descriptors compared with a codebook at a time


@dataclass(frozen=True)
class FisherEncoding:
    """Improved Fisher vectors (Perronnin, Sanchez & Mensink, ECCV 2010).

    Each region's vector is scaled to unit length, then the row.

    Parameters
    ----------
    components
        Gaussians of the mixture.
    start_from_rows
        See `fit_gmm`.
    intra_norm
        Before that, scale the mean terms of each Gaussian to unit length, and likewise its
        variance terms: patterns that an image repeats then count no more than others
        (Arandjelovic & Zisserman, All about VLAD, CVPR 2013, section 3).
    """

    components: int = 256
    start_from_rows: bool = False
    intra_norm: bool = False

    @property
    def sample_size(self) -> int:
        return DESCRIPTORS_PER_WORD * self.components

    def fit(self, sample: Tensor, context: Context) -> State:
        gmm = fit_gmm(sample, self.components, context, start_from_rows=self.start_from_rows)
        return tensor_fields(gmm)

    def encode(self, descriptors: Tensor, regions: Tensor, state: State) -> Tensor:
        codes = signed_sqrt(FisherVector(GMM(**state))(descriptors, regions))
        if self.intra_norm:
            blocks = codes.unflatten(-1, (2 * len(state["means"]), -1))
            codes = l2_normalize(blocks).flatten(-2)
        return l2_normalize(l2_normalize(codes).flatten(1))


@dataclass(frozen=True)
class VladEncoding:
    """VLAD as in VLFeat's apps/recognition: each region's vector of unit length, then the row."""

    words: int = 256

    @property
    def sample_size(self) -> int:
        return DESCRIPTORS_PER_WORD * self.words

    def fit(self, sample: Tensor, context: Context) -> State:
        return tensor_fields(fit_kmeans(sample, self.words, context))

    def encode(self, descriptors: Tensor, regions: Tensor, state: State) -> Tensor:
        codes = VLAD(Codebook(**state))(descriptors, regions)
        return l2_normalize(l2_normalize(codes).flatten(1))


@dataclass(frozen=True)
class BagOfWordsEncoding:
    """Histograms of visual words, then a homogeneous kernel map (VLFeat's phow_caltech101.m).

    The histograms of all regions together have sum 1.

    Parameters
    ----------
    words
    soft_assignment
        Divide a descriptor's vote among its 5 nearest words, by a Gaussian whose standard
        deviation is the root mean squared distance to a word.
    sample_size
        Number of descriptors to fit the words to.
    """

    words: int = 600
    soft_assignment: bool = False
    sample_size: int = 100_000

    def fit(self, sample: Tensor, context: Context) -> State:
        return _fit_words(sample, self.words, context)

    def encode(self, descriptors: Tensor, regions: Tensor, state: State) -> Tensor:
        codebook = Codebook(state["centers"])
        sigma = max(float(state["distance"]), MIN_SIGMA)
        encoder = SoftBagOfWords(codebook, sigma) if self.soft_assignment else BagOfWords(codebook)
        histograms = l1_normalize(encoder(descriptors, regions).flatten(1))
        return Chi2Map(order=1, gamma=0.5)(histograms)


@dataclass(frozen=True)
class SuperVectorEncoding:
    """Super-vector codes of all regions, the row of unit length.

    A word's presence has the weight of the root mean squared distance from a word.
    """

    words: int = 256

    @property
    def sample_size(self) -> int:
        return DESCRIPTORS_PER_WORD * self.words

    def fit(self, sample: Tensor, context: Context) -> State:
        return _fit_words(sample, self.words, context)

    def encode(self, descriptors: Tensor, regions: Tensor, state: State) -> Tensor:
        encoder = SuperVector(Codebook(state["centers"]), float(state["distance"]))
        return l2_normalize(encoder(descriptors, regions).flatten(1))


def _fit_words(sample: Tensor, words: int, context: Context) -> State:
    """Fit a codebook; return its "centers" and the "distance" that `rms_distance` gives."""
    codebook = fit_kmeans(sample, words, context)
    return {**tensor_fields(codebook), "distance": rms_distance(codebook, sample, context)}


def rms_distance(codebook: Codebook, sample: Tensor, context: Context) -> Tensor:
    """Return the root mean squared distance (0-d) of all processes' rows to their words."""
    sums = torch.zeros(2, dtype=torch.float64, device=sample.device)
    for rows in sample.split(chunk_size(CHUNK_ROWS, sample.device)):
        squared_distances, _ = codebook.neighbors(rows, 1)
        count = sums.new_tensor(float(len(rows)))
        sums += torch.stack([squared_distances.sum(dtype=torch.float64), count])
    total, count = context.sum(sums)
    return (total / count.clamp(min=1)).sqrt().float()
