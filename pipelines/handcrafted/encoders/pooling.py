"""The base of all encoders: descriptors get weights per visual word, and terms are summed.

Regions of a spatial pyramid overlap. Sums are therefore computed once per piece, a set of
descriptors that lie in the same regions, and added up to the sums of the regions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pipelines.handcrafted.chunks import chunk_size

CHUNK_ROWS = 1024  # descriptors weighted at a time on a CPU
MAX_IMAGES = 16  # small images pooled at a time, each with sums of its own


class PooledEncoder(ABC):
    """Encodes the descriptors of image regions.

    A region's code depends on the descriptors in it alone; a region without descriptors gets the
    zero vector. A descriptor's weights are computed once, however many regions it lies in.
    """

    @property
    @abstractmethod
    def length(self) -> int:
        """Number of values in a code."""

    @abstractmethod
    def weights_and_terms(self, descriptors: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
        """Return what is summed over descriptors: one or more pairs of weights and terms.

        Parameters
        ----------
        descriptors : (b, p, d)

        Returns
        -------
        list of (weights, terms) : (b, p, words), (b, p, t)
        """

    @abstractmethod
    def codes_from_sums(self, sums: Sequence[tuple[Tensor, Tensor]], counts: Tensor) -> Tensor:
        """Return codes from the sums over regions; where all sums are 0, the code must be 0.

        Parameters
        ----------
        sums : list of (b, r, words), (b, r, words, t)
            For each pair, the sums of the weights and of the weighted terms.
        counts : (r, 1)
            Descriptors in each region, at least 1.

        Returns
        -------
        Tensor : (b, r, length)
        """

    def __call__(self, descriptors: Tensor, regions: Tensor) -> Tensor:
        """Encode images with the same regions.

        Parameters
        ----------
        descriptors : (n, m, d) float32
        regions : (r, m) bool
            True where a descriptor lies in a region.

        Returns
        -------
        Tensor : (n, r, length)
        """
        codes = descriptors.new_zeros(len(descriptors), len(regions), self.length)
        if not regions.any():
            return codes
        order, piece_of, members = split_into_pieces(regions)
        counts = regions.sum(1, keepdim=True).clamp(min=1).to(descriptors.dtype)
        size = chunk_size(CHUNK_ROWS, descriptors.device)
        chunks = [
            _Chunk(indices, *_runs(pieces))
            for indices, pieces in zip(order.split(size), piece_of.split(size), strict=True)
        ]
        images_at_a_time = max(1, min(MAX_IMAGES, size // len(order)))
        image_chunks = descriptors.split(images_at_a_time)
        for images, code in zip(image_chunks, codes.split(images_at_a_time), strict=True):
            code.copy_(self.codes_from_sums(self._pool(images, chunks, members), counts))
        return codes

    def _pool(
        self, descriptors: Tensor, chunks: Sequence[_Chunk], members: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        """Return the sums that `codes_from_sums` takes."""
        sums: list[tuple[Tensor, Tensor]] = []
        for chunk in chunks:
            pairs = self.weights_and_terms(descriptors.index_select(1, chunk.indices))
            if not sums:
                sums = [_zero_sums(members.shape[1], weights, terms) for weights, terms in pairs]
            for (weight_sums, term_sums), (weights, terms) in zip(sums, pairs, strict=True):
                runs = zip(
                    chunk.pieces,
                    weights.split(chunk.lengths, 1),
                    terms.split(chunk.lengths, 1),
                    strict=True,
                )
                for piece, run_weights, run_terms in runs:
                    weight_sums[piece] += run_weights.sum(1)
                    term_sums[piece].baddbmm_(run_weights.transpose(1, 2), run_terms)
        return [
            (_sum_pieces(weight_sums, members), _sum_pieces(term_sums, members))
            for weight_sums, term_sums in sums
        ]


class _Chunk(NamedTuple):
    """Descriptors that are weighted together, ordered by piece.

    `pieces` and `lengths` describe the runs of descriptors of one piece.
    """

    indices: Tensor
    pieces: list[int]
    lengths: list[int]


def split_into_pieces(regions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the largest sets of descriptors that lie in the same regions.

    Parameters
    ----------
    regions : (r, m) bool

    Returns
    -------
    order : (k,) int64
        The descriptors that lie in any region, those of piece 0 first.
    piece_of : (k,) int64
        The piece of each of them.
    members : (r, pieces) bool
        Which pieces make up a region.
    """
    covered = regions.any(0).nonzero().squeeze(1)
    inside = regions[:, covered].long()
    key = torch.zeros_like(covered)
    for bits in inside.split(32):
        shifts = torch.arange(len(bits), device=bits.device)[:, None]
        key = torch.unique((key << 32) + (bits << shifts).sum(0), return_inverse=True)[1]
    piece_of, order = key.sort(stable=True)
    sizes = piece_of.bincount()
    firsts = order[sizes.cumsum(0) - sizes]
    return covered[order], piece_of, inside[:, firsts].bool()


def _runs(piece_of: Tensor) -> tuple[list[int], list[int]]:
    """Return the pieces that follow one another and the length of each run."""
    pieces, lengths = piece_of.unique_consecutive(return_counts=True)
    return pieces.tolist(), lengths.tolist()


def _zero_sums(pieces: int, weights: Tensor, terms: Tensor) -> tuple[Tensor, Tensor]:
    """Return zeros (pieces, b, words) and (pieces, b, words, t)."""
    images, _, words = weights.shape
    weight_sums = weights.new_zeros(pieces, images, words)
    return weight_sums, terms.new_zeros(pieces, images, words, terms.shape[2])


def _sum_pieces(piece_sums: Tensor, members: Tensor) -> Tensor:
    """Add up the sums of pieces to those of regions: (pieces, b, ...) -> (b, r, ...)."""
    region_sums = members.to(piece_sums.dtype) @ piece_sums.flatten(1)
    return region_sums.unflatten(1, piece_sums.shape[1:]).transpose(0, 1)
