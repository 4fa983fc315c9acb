"""Feature rows read as a stream, chunk by chunk, by every process that fits a classifier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

from harness.contract import Context, State
from pipelines.handcrafted.classifiers.feature_rows import equalizing_scale
from pipelines.handcrafted.classifiers.loss import Loss
from pipelines.handcrafted.features import Features, gather_rows

BLOCK_ROWS = 128  # their products with each other then cost less than reading them
GPU_BLOCK_ROWS = 512


class StreamBatch(NamedTuple):
    """A batch of a `RowStream`.

    Attributes
    ----------
    indices : (n,) int64
        Indices of the rows among all rows of the stream.
    rows : (n, features + 1)
        With a constant 1 appended.
    labels : (n,) int64
    """

    indices: Tensor
    rows: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Standardization:
    """Rows are seen as (features - mean) * scale, (features,) each."""

    mean: Tensor
    scale: Tensor

    def fold(self, weights: Tensor) -> Tensor:
        """Return weights (classes, features + 1) for the plain features, with the same margins."""
        plain = weights[:, :-1] * self.scale
        return torch.cat([plain, (weights[:, -1] - plain @ self.mean)[:, None]], dim=1)


@dataclass(frozen=True)
class RowStream:
    """The rows of all processes, in random order, with a constant 1 appended.

    Every process sees all rows, of which it has described and kept its own share.

    Parameters
    ----------
    features
        Of train, and of tune if that is learned from too. Within each, the images should be in
        random order, since only the rows within a chunk and the chunks are shuffled.
    num_classes
    context
    standardization : Standardization or None
        None leaves the features as they are.
    """

    features: Sequence[Features]
    num_classes: int
    context: Context
    standardization: Standardization | None = None

    @cached_property
    def chunks(self) -> list[tuple[Features, int]]:
        """The features and the index in them of each chunk."""
        return [(features, index) for features in self.features for index in range(len(features))]

    @cached_property
    def chunk_rows(self) -> list[int]:
        """Number of rows of each chunk over all processes."""
        return [features.chunk_rows(index) for features, index in self.chunks]

    @cached_property
    def first_rows(self) -> list[int]:
        """Index of the first row of each chunk among all rows."""
        return [0, *accumulate(self.chunk_rows)][:-1]

    @property
    def rows(self) -> int:
        """Number of rows over all processes."""
        return sum(self.chunk_rows)

    def standardized(self) -> RowStream:
        """Return the rows with mean 0 and equal variances; see `FeatureRows.standardized`."""
        sums = torch.zeros((), dtype=torch.float64)
        for features in self.features:
            for chunk in features:
                values = chunk["features"].double()
                sums = sums.to(values.device) + torch.stack([values.sum(0), values.square().sum(0)])
        mean, mean_square = self.context.sum(sums) / self.rows
        deviation = (mean_square - mean.square()).clamp(min=0).sqrt().float()
        scale = equalizing_scale(mean.float(), deviation)
        standardization = Standardization(mean.float(), scale)
        return RowStream(self.features, self.num_classes, self.context, standardization)

    def epoch(
        self, number: int, *, shuffled_chunks: int = 1, label: str = "fit"
    ) -> Iterator[StreamBatch]:
        """Yield all rows in batches, in an order drawn from the seed and the epoch's number.

        Parameters
        ----------
        number
        shuffled_chunks
            Chunks whose rows are mixed; as many are in memory, as they are stored.
        label
            For the progress.
        """
        generator = torch.Generator().manual_seed(self.context.seed + number)
        order = torch.randperm(len(self.chunks), generator=generator).tolist()
        groups = [
            order[start : start + shuffled_chunks]
            for start in range(0, len(order), shuffled_chunks)
        ]
        unit = "chunk" if shuffled_chunks == 1 else f"{shuffled_chunks} chunks"
        for group in self.context.progress(groups, label=label, total=len(groups), unit=unit):
            rows = sum(self.chunk_rows[chunk] for chunk in group)
            yield from self._batches(group, torch.randperm(rows, generator=generator))

    def _batches(self, group: Sequence[int], order: Tensor) -> Iterator[StreamBatch]:
        """Yield the rows of some chunks, whose rows follow each other, in this order."""
        chunks = [self._whole_chunk(chunk) for chunk in group]
        stored = {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}
        del chunks
        index = torch.cat(
            [self.first_rows[chunk] + torch.arange(self.chunk_rows[chunk]) for chunk in group]
        )
        features, _ = self.chunks[group[0]]
        for positions in order.split(block_rows(self.context.device)):
            here = positions.to(stored["labels"].device)
            batch = features.decode({name: values[here] for name, values in stored.items()})
            rows = batch["features"]
            if self.standardization:
                rows = (rows - self.standardization.mean).mul_(self.standardization.scale)
            indices = index[positions].to(here.device)
            yield StreamBatch(indices, pad(rows, (0, 1), value=1.0), batch["labels"])

    def _whole_chunk(self, chunk: int) -> State:
        """Return a chunk with the rows of all processes, as they are stored."""
        features, index = self.chunks[chunk]
        count = self.chunk_rows[chunk]
        return {
            name: gather_rows(share, count, self.context)
            for name, share in features.stored(index).items()
        }

    def total_loss(self, weights: Tensor, loss: Loss, positive_weight: float) -> float:
        """Return the sum of the loss over all rows and classes for weights (classes, d + 1)."""
        total = torch.zeros((), dtype=torch.float64, device=weights.device)
        plain = self.standardization.fold(weights) if self.standardization else weights
        for features, index in self.chunks:
            share = features[index]
            margins = linear(share["features"], plain[:, :-1], plain[:, -1])
            total += loss.total(margins, share["labels"], positive_weight)
        return float(self.context.sum(total))


def block_rows(device: torch.device) -> int:
    """Return the number of rows that are used at a time."""
    return BLOCK_ROWS if device.type == "cpu" else GPU_BLOCK_ROWS
