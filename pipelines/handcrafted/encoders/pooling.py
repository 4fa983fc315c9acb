"""What the encoders share: descriptors are weighed against words, and what they say is summed a word and region."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from pipelines.handcrafted.chunks import at_once

CHUNK_ROWS = 1024  # descriptors weighed at a time on a CPU
MOST_IMAGES = 16  # small images pooled at a time: each has sums of its own
Stretch = tuple[
    Tensor, tuple[list[int], list[int]]
]  # which descriptors, and of those one after the other: whose piece, how many


class PooledEncoder(ABC):
    """Float32 descriptors (n, m, d) and bool regions (r, m) to codes (n, r, `length`).

    A region's code depends on the descriptors in it alone; a region without any gets the zero vector. A descriptor is weighed once,
    however many regions it lies in: sums are made over pieces that no region cuts and added up to those of the regions.
    """

    @property
    @abstractmethod
    def length(self) -> int:
        """Values in a code."""

    @abstractmethod
    def weigh(self, rows: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
        """What is summed of descriptors (b, p, d): weights (b, p, words) and terms (b, p, terms), once or more often."""

    @abstractmethod
    def finish(self, sums: Sequence[tuple[Tensor, Tensor]], counts: Tensor) -> Tensor:
        """Codes (b, r, `length`) from the sums of each pair: of weights (b, r, words), of weighted terms (b, r, words, terms).

        counts (r, 1): how many descriptors lie in each region, at least 1. Where all sums are 0, so is the code.
        """

    def __call__(self, values: Tensor, regions: Tensor) -> Tensor:
        codes = values.new_zeros(len(values), len(regions), self.length)
        if regions.any():
            order, piece, members = pieces(regions)
            counts = regions.sum(1, keepdim=True).clamp(min=1).to(values.dtype)
            chunk = at_once(CHUNK_ROWS, values.device)
            together = max(1, min(MOST_IMAGES, chunk // len(order)))
            stretches = list(zip(order.split(chunk), map(_runs, piece.split(chunk)), strict=True))
            for images, code in zip(values.split(together), codes.split(together), strict=True):
                code.copy_(self.finish(self._pool(images, stretches, members), counts))
        return codes

    def _pool(
        self, values: Tensor, stretches: list[Stretch], members: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        """The sums that `finish` takes."""
        sums: list[tuple[Tensor, Tensor]] = []
        for rows, (owners, sizes) in stretches:
            pairs = self.weigh(values.index_select(1, rows))
            if not sums:
                sums = [_no_sums(members.shape[1], *pair) for pair in pairs]
            for (masses, products), (weights, terms) in zip(sums, pairs, strict=True):
                for number, weight, term in zip(
                    owners, weights.split(sizes, 1), terms.split(sizes, 1), strict=True
                ):
                    masses[number] += weight.sum(1)
                    products[number].baddbmm_(weight.transpose(1, 2), term)
        return [
            (_added_up(masses, members), _added_up(products, members)) for masses, products in sums
        ]


def pieces(regions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The largest sets of descriptors that lie in the same regions, from (r, m) bool.

    order    descriptors that lie in any region, those of piece 0 first
    piece    the piece of each of them
    members  (r, pieces) bool: which pieces make up a region
    """
    covered = regions.any(0).nonzero().squeeze(1)
    inside = regions[:, covered].long()
    key = torch.zeros_like(covered)
    for bits in inside.split(32):
        shifts = torch.arange(len(bits), device=bits.device)[:, None]
        key = torch.unique((key << 32) + (bits << shifts).sum(0), return_inverse=True)[1]
    piece, order = key.sort(stable=True)
    sizes = piece.bincount()
    firsts = order[sizes.cumsum(0) - sizes]
    return covered[order], piece, inside[:, firsts].bool()


def _runs(piece: Tensor) -> tuple[list[int], list[int]]:
    """The pieces that follow one another, and how long each is."""
    owners, sizes = piece.unique_consecutive(return_counts=True)
    return owners.tolist(), sizes.tolist()


def _no_sums(count: int, weights: Tensor, terms: Tensor) -> tuple[Tensor, Tensor]:
    """Zero (count, b, words) and (count, b, words, terms)."""
    images, _, words = weights.shape
    return weights.new_zeros(count, images, words), terms.new_zeros(
        count, images, words, terms.shape[2]
    )


def _added_up(of_pieces: Tensor, members: Tensor) -> Tensor:
    """(pieces, b, ...) to (b, r, ...)."""
    of_regions = members.to(of_pieces.dtype) @ of_pieces.flatten(1)
    return of_regions.unflatten(1, of_pieces.shape[1:]).transpose(0, 1)
