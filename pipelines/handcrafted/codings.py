"""Codings: how an encoder's codebook is learned, and how its codes of an image's regions become one row.

Each is a `bag.Coding`: settings only; what it learns is handed out, and handed in again as `learned`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.contract import Context, State
from pipelines.handcrafted.channel import stage_state
from pipelines.handcrafted.chunks import at_once
from pipelines.handcrafted.encoders.bag_of_words import BagOfWords, SoftBagOfWords
from pipelines.handcrafted.encoders.chi2_map import Chi2Map
from pipelines.handcrafted.encoders.fisher import FisherVector
from pipelines.handcrafted.encoders.gmm import GMM, fit_gmm
from pipelines.handcrafted.encoders.kmeans import Codebook, fit_kmeans
from pipelines.handcrafted.encoders.normalization import signed_root, unit, unit_sum
from pipelines.handcrafted.encoders.super_vector import SuperVector
from pipelines.handcrafted.encoders.vlad import VLAD

SAMPLE_PER_WORD = 1000  # descriptors to learn from, as in VLFeat's apps/recognition
LEAST_DISTANCE = 1e-6  # from a word, of descriptors of length 1: of featureless images all are 0
CHUNK_ROWS = 4096  # descriptors compared with a codebook at a time


@dataclass(frozen=True)
class Fisher:
    """Improved Fisher vectors (Perronnin, Sanchez & Mensink, ECCV 2010): each region's of length 1, then the row.

    from_rows  as `fit_gmm`
    intra      before that the mean terms of each Gaussian, and its variance terms, are given length 1: what an image repeats then counts
               for no more than the rest (Arandjelovic & Zisserman, All about VLAD, CVPR 2013, section 3)
    """

    components: int = 256
    from_rows: bool = False
    intra: bool = False

    @property
    def sample(self) -> int:
        return SAMPLE_PER_WORD * self.components

    def learn(self, sample: Tensor, context: Context) -> State:
        return stage_state(fit_gmm(sample, self.components, context, from_rows=self.from_rows))

    def encode(self, values: Tensor, regions: Tensor, learned: State) -> Tensor:
        codes = signed_root(FisherVector(GMM(**learned))(values, regions))
        if self.intra:
            codes = unit(codes.unflatten(-1, (2 * len(learned["means"]), -1))).flatten(-2)
        return unit(unit(codes).flatten(1))


@dataclass(frozen=True)
class Vlad:
    """VLAD as VLFeat's apps/recognition takes it: each region's of length 1, then the row."""

    words: int = 256

    @property
    def sample(self) -> int:
        return SAMPLE_PER_WORD * self.words

    def learn(self, sample: Tensor, context: Context) -> State:
        return stage_state(fit_kmeans(sample, self.words, context))

    def encode(self, values: Tensor, regions: Tensor, learned: State) -> Tensor:
        return unit(unit(VLAD(Codebook(**learned))(values, regions)).flatten(1))


@dataclass(frozen=True)
class Words:
    """Histograms of visual words, all regions' together of sum 1, then the homogeneous kernel map (VLFeat, apps/phow_caltech101.m).

    soft    votes are shared among the 5 nearest words, with the root mean squared distance to a word as the kernel's width
    sample  descriptors to learn the words from
    """

    words: int = 600
    soft: bool = False
    sample: int = 100_000

    def learn(self, sample: Tensor, context: Context) -> State:
        codebook = fit_kmeans(sample, self.words, context)
        return {**stage_state(codebook), "distance": mean_distance(codebook, sample, context)}

    def encode(self, values: Tensor, regions: Tensor, learned: State) -> Tensor:
        codebook = Codebook(learned["centers"])
        width = max(float(learned["distance"]), LEAST_DISTANCE)
        encoder = SoftBagOfWords(codebook, width) if self.soft else BagOfWords(codebook)
        return Chi2Map(order=1, gamma=0.5)(unit_sum(encoder(values, regions).flatten(1)))


@dataclass(frozen=True)
class SuperVectors:
    """Super-vector codes of the regions, the row of length 1. A word's presence counts for as much as a usual distance from it."""

    words: int = 256

    @property
    def sample(self) -> int:
        return SAMPLE_PER_WORD * self.words

    def learn(self, sample: Tensor, context: Context) -> State:
        codebook = fit_kmeans(sample, self.words, context)
        return {**stage_state(codebook), "distance": mean_distance(codebook, sample, context)}

    def encode(self, values: Tensor, regions: Tensor, learned: State) -> Tensor:
        encoder = SuperVector(Codebook(learned["centers"]), float(learned["distance"]))
        return unit(encoder(values, regions).flatten(1))


def mean_distance(codebook: Codebook, sample: Tensor, context: Context) -> Tensor:
    """0-d: the root mean squared distance of the rows of all processes to their nearest word."""
    sums = torch.zeros(2, dtype=torch.float64, device=sample.device)
    for rows in sample.split(at_once(CHUNK_ROWS, sample.device)):
        squares, _ = codebook.neighbors(rows, 1)
        sums += torch.stack([squares.sum(dtype=torch.float64), sums.new_tensor(float(len(rows)))])
    total, count = context.sum(sums)
    return (total / count.clamp(min=1)).sqrt().float()
