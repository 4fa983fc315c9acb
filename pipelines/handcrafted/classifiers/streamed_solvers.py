"""Linear classifiers that read their rows as a stream: memory for the weights, not for the rows.

They are our own because scikit-learn's `partial_fit` classifiers visit the rows once per class and
run in one process. These update all classes in one pass and split the rows over processes, each of
which applies the updates of all rows, so that all end with the same weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear, pad

from harness.contract import Context
from pipelines.handcrafted.classifiers.linear_svm import UNSEEN_CLASS_MARGIN
from pipelines.handcrafted.classifiers.loss import Loss
from pipelines.handcrafted.classifiers.update_rules import (
    DualAscent,
    ImplicitSGD,
    PassiveAggressive,
    UpdatedWeights,
)
from pipelines.handcrafted.features import Features, gather_rows

BATCH = 128  # rows; their products with each other then cost less than reading them
MAX_EPOCHS = 200
DUALITY_GAP = 1e-2  # relative gap at which dual coordinate ascent ends
FIRST_RATES = [2.0**power for power in range(-4, 9)]  # for rows of mean squared length 1
RATE_TRIAL_ROWS = 1024


class StreamBatch(NamedTuple):
    """A batch of a `RowStream`.

    Attributes
    ----------
    chunk
        Index of the chunk in `RowStream.chunks`.
    indices : (n,) int64
        Indices of the rows in the chunk.
    rows : (n, features + 1)
        With a constant 1 appended.
    labels : (n,) int64
    """

    chunk: int
    indices: Tensor
    rows: Tensor
    labels: Tensor


@dataclass(frozen=True)
class RowStream:
    """The rows of all processes, in random order, with a constant 1 appended.

    Parameters
    ----------
    features
        Of train, and of tune if that is learned from too. Within each, the images should be in
        random order, since only the rows within a chunk and the chunks are shuffled.
    num_classes
    context
    """

    features: Sequence[Features]
    num_classes: int
    context: Context

    @property
    def chunks(self) -> list[tuple[Features, int]]:
        """The features and the index in them of each chunk."""
        return [(features, index) for features in self.features for index in range(len(features))]

    @property
    def rows(self) -> int:
        """Number of rows over all processes."""
        return sum(features.chunk_rows(index) for features, index in self.chunks)

    def epoch(self, number: int) -> Iterator[StreamBatch]:
        """Yield all rows in batches, in an order drawn from the seed and the epoch's number."""
        generator = torch.Generator().manual_seed(self.context.seed + number)
        chunks = self.chunks
        for chunk in torch.randperm(len(chunks), generator=generator).tolist():
            features, index = chunks[chunk]
            order = torch.randperm(features.chunk_rows(index), generator=generator)
            yield from self._batches(chunk, order)

    def _batches(self, chunk: int, order: Tensor) -> Iterator[StreamBatch]:
        features, index = self.chunks[chunk]
        share = features[index]
        for indices in order.split(BATCH):
            rows = gather_rows(share["features"], indices, self.context)
            labels = gather_rows(share["labels"][:, None], indices, self.context).squeeze(1)
            yield StreamBatch(chunk, indices, pad(rows, (0, 1), value=1.0), labels)

    def total_loss(self, weights: Tensor, loss: Loss, positive_weight: float) -> float:
        """Return the sum of the loss over all rows and classes for weights (classes, d + 1)."""
        total = torch.zeros((), dtype=torch.float64, device=weights.device)
        for features, index in self.chunks:
            share = features[index]
            margins = linear(share["features"], weights[:, :-1], weights[:, -1])
            total += loss.total(margins, share["labels"], positive_weight)
        return float(self.context.sum(total))


class StreamedDualAscent:
    """One-vs-rest SVMs by dual coordinate ascent, to a relative duality gap of DUALITY_GAP.

    It minimizes what `LinearSVM` minimizes, with the same treatment of the bias, and takes memory
    for one number per row and class.
    """

    def __init__(self, stream: RowStream, loss: Loss) -> None:
        self.stream, self.loss = stream, loss

    def fit(self, c: float, positive_weight: float = 1.0) -> tuple[Tensor, Tensor]:
        """Fit all classes; see `learners.Solver.fit`."""
        stream, rule = self.stream, DualAscent(self.loss, c, positive_weight)
        duals = [
            np.zeros((features.chunk_rows(index), stream.num_classes), dtype=np.float32)
            for features, index in stream.chunks
        ]
        seen = np.zeros(stream.num_classes, dtype=bool)
        model: UpdatedWeights | None = None
        for epoch in range(MAX_EPOCHS):
            dual_linear = 0.0  # the dual objective less its quadratic term in the weights
            for batch in stream.epoch(epoch):
                model = model or _zero_weights(stream, batch, averaged=False)
                rule.duals = duals[batch.chunk][batch.indices].astype(np.float64)
                model.see(batch.rows, batch.labels, rule)
                duals[batch.chunk][batch.indices] = rule.duals
                labels = batch.labels.cpu().numpy()
                seen[labels] = True
                dual_linear += self.loss.dual_value(rule.duals, labels, c, positive_weight)
            assert model
            size = float(model.weights.double().square().sum()) / 2
            primal = size + c * stream.total_loss(model.weights, self.loss, positive_weight)
            if primal - (dual_linear - size) <= DUALITY_GAP * primal:
                break
        assert model
        return split_biases(model.weights, torch.from_numpy(seen))


class StreamedSGD:
    """One-vs-rest SVMs by averaged stochastic gradient descent (Lin et al., CVPR 2011).

    The weights are averaged from the second epoch on.
    """

    def __init__(self, stream: RowStream, loss: Loss, epochs: int) -> None:
        self.stream, self.loss, self.epochs = stream, loss, epochs

    def fit(self, c: float, positive_weight: float = 1.0) -> tuple[Tensor, Tensor]:
        """Fit all classes; see `learners.Solver.fit`."""
        regularization = 1 / (c * self.stream.rows)
        first_rate = self._choose_first_rate(regularization, positive_weight)
        rule = ImplicitSGD(self.loss, regularization, first_rate, positive_weight)
        model: UpdatedWeights | None = None
        seen = torch.zeros(self.stream.num_classes, dtype=torch.bool)
        for epoch in range(self.epochs):
            if model and epoch == 1:
                model.restart_mean()
            for batch in self.stream.epoch(epoch):
                model = model or _zero_weights(self.stream, batch)
                model.see(batch.rows, batch.labels, rule)
                seen[batch.labels.cpu()] = True
        assert model
        return split_biases(model.mean, seen)

    def _choose_first_rate(self, regularization: float, positive_weight: float) -> float:
        """Return the rate with the lowest objective after one pass over a few rows.

        This is how Bottou's svmasgd chooses it.
        """
        rows, labels = self._first_rows()
        objectives = []
        for relative_rate in FIRST_RATES:
            rate = relative_rate / float(rows.square().sum(1).mean())
            model = UpdatedWeights(self.stream.num_classes, rows.shape[1], rows)
            rule = ImplicitSGD(self.loss, regularization, rate, positive_weight)
            model.see(rows, labels, rule)
            losses = self.loss.total(linear(rows, model.weights), labels, positive_weight)
            penalty = regularization * float(model.weights.square().sum()) / 2
            objectives.append((float(losses) / len(rows) + penalty, rate))
        return min(objectives)[1]

    def _first_rows(self) -> tuple[Tensor, Tensor]:
        """Return about RATE_TRIAL_ROWS rows and their labels."""
        batches: list[StreamBatch] = []
        for batch in self.stream.epoch(0):
            batches.append(batch)
            if BATCH * len(batches) >= RATE_TRIAL_ROWS:
                break
        rows = torch.cat([batch.rows for batch in batches])
        return rows, torch.cat([batch.labels for batch in batches])


class StreamedPassiveAggressive:
    """A linear classifier by the averaged passive-aggressive algorithm."""

    def __init__(self, stream: RowStream, one_vs_rest: bool, epochs: int) -> None:
        self.stream, self.one_vs_rest, self.epochs = stream, one_vs_rest, epochs

    def fit(self, c: float, positive_weight: float = 1.0) -> tuple[Tensor, Tensor]:
        """Fit all classes with the aggressiveness c; see `learners.Solver.fit`.

        `positive_weight` is ignored: the algorithm has no such weight.
        """
        rule = PassiveAggressive(c, self.one_vs_rest)
        model: UpdatedWeights | None = None
        seen = torch.zeros(self.stream.num_classes, dtype=torch.bool)
        for epoch in range(self.epochs):
            for batch in self.stream.epoch(epoch):
                model = model or _zero_weights(self.stream, batch)
                model.see(batch.rows, batch.labels, rule)
                seen[batch.labels.cpu()] = True
        assert model
        return split_biases(model.mean, seen)


def _zero_weights(
    stream: RowStream, batch: StreamBatch, *, averaged: bool = True
) -> UpdatedWeights:
    """Return zero weights for rows like those of the batch."""
    return UpdatedWeights(stream.num_classes, batch.rows.shape[1], batch.rows, averaged=averaged)


def split_biases(weights: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Split (classes, features + 1) into weights and biases.

    A class without rows (not `seen`) gets the bias UNSEEN_CLASS_MARGIN: its own margin, about -1,
    would beat real classes.
    """
    is_seen = seen.to(weights.device)
    biases = torch.where(is_seen, weights[:, -1], UNSEEN_CLASS_MARGIN)
    return weights[:, :-1] * is_seen[:, None], biases
