"""Linear classifiers that read their rows as a stream, in memory for the weights and the duals.

They are our own because scikit-learn's `partial_fit` classifiers visit the rows once per class and
run in one process. The SVMs of dual ascent update all classes by a block of rows at a time, and
each process fits a share of the classes. The online algorithms (`update_rules`) update by one row
after the other, and every process applies the updates of all rows.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import linear

from harness.contract import UserError
from pipelines.handcrafted.classifiers.block_ascent import BlockProblem
from pipelines.handcrafted.classifiers.linear_svm import NOT_FINITE, UNSEEN_CLASS_MARGIN
from pipelines.handcrafted.classifiers.loss import Loss, class_signs, class_weights
from pipelines.handcrafted.classifiers.row_stream import RowStream, StreamBatch
from pipelines.handcrafted.classifiers.update_rules import (
    ImplicitSGD,
    PassiveAggressive,
    UpdatedWeights,
)
from pipelines.handcrafted.features import CHUNK_IMAGES

MAX_EPOCHS = 200
DUALITY_GAP = 1e-2  # relative gap at which dual coordinate ascent ends
DUAL_DTYPE = torch.bfloat16
# Chunks whose rows are mixed. All rows of a class pull at its bias, and blocks of one chunk's rows
# pull it too far for the other chunks: with 1 the gap shrinks ten times as slowly as with all.
SHUFFLED_CHUNKS = 8
FIRST_RATES = [2.0**power for power in range(-4, 9)]  # for rows of mean squared length 1
RATE_TRIAL_ROWS = 1024


class StreamedDualAscent:
    """One-vs-rest SVMs by block dual coordinate ascent, to a relative gap of DUALITY_GAP.

    It minimizes what `LinearSVM` minimizes, with the same treatment of the bias. Each process
    fits a share of the classes, for which it keeps two bytes per row and class: the dual
    variables in bfloat16, in multiples of `scale`. The weights are always those of the rounded
    duals, so rounding costs no accuracy beyond its own 0.4 %.

    `fit` may be called for one C after the other. With the squared hinge each fit starts from the
    last duals, which are feasible for any C, rescaled to the highest dual objective.
    """

    def __init__(self, stream: RowStream, loss: Loss) -> None:
        self.stream, self.loss = stream, loss
        context, classes = stream.context, stream.num_classes
        first, last = (
            classes * number // context.world_size for number in (context.rank, context.rank + 1)
        )
        self.share = slice(first, last)  # this process's classes
        self.duals = torch.zeros(stream.rows, last - first, dtype=DUAL_DTYPE, device=context.device)
        self.scale = torch.ones(last - first, device=context.device)
        self.weights = torch.zeros(0)
        self.seen = torch.zeros(classes, dtype=torch.bool, device=context.device)

    def fit(self, c: float, positive_weight: float = 1.0) -> tuple[Tensor, Tensor]:
        """Fit all classes; see `learners.Solver.fit`."""
        stream, gap = self.stream, math.inf
        self._start(c)
        for epoch in range(MAX_EPOCHS):
            dual_linear = self._ascend(epoch, c, positive_weight)
            weights = self._gather_weights()
            gap = self._relative_gap(weights, dual_linear, c, positive_weight)
            if gap <= DUALITY_GAP:
                break
        else:
            stream.context.note(
                f"the SVM with C = {c:g} ended {100 * gap:.0f} % above its lower bound, "
                f"after {MAX_EPOCHS} epochs"
            )
        if stream.standardization:
            weights = stream.standardization.fold(weights)
        return split_biases(weights, self.seen)

    def _start(self, c: float) -> None:
        """Start from the last duals at the scale that suits C, or from zero."""
        if self.loss.corner is None and self.weights.numel():
            lengths, squares = self._dual_sums()
            curvature = self.weights.square().sum(1, dtype=torch.float64) + squares / (2 * c)
            factor = torch.where(curvature > 0, lengths / curvature, 1).float()
            self.scale *= factor
            self.weights *= factor[:, None]
            return
        self.duals.zero_()
        self.weights.zero_()
        self.scale.fill_(c)  # the bound of the hinge's duals is then exact in bfloat16

    def _dual_sums(self) -> tuple[Tensor, Tensor]:
        """Return the sums of the duals and of their squares, (classes,) float64 each."""
        sums = torch.zeros(2, len(self.scale), dtype=torch.float64, device=self.scale.device)
        for duals in self.duals.split(CHUNK_IMAGES):
            lengths = (duals.float() * self.scale).abs()
            sums += torch.stack([lengths, lengths.square()]).sum(1, dtype=torch.float64)
        return sums[0], sums[1]

    def _ascend(self, epoch: int, c: float, positive_weight: float) -> Tensor:
        """Improve the duals of all blocks; return the dual objective less its weights' term."""
        stream = self.stream
        total = torch.zeros((), dtype=torch.float64, device=self.scale.device)
        label = f"fit {stream.num_classes:,} SVMs, epoch {epoch + 1}"
        for batch in stream.epoch(epoch, shuffled_chunks=SHUFFLED_CHUNKS, label=label):
            self.seen[batch.labels] = True
            if not self.weights.numel():
                self.weights = batch.rows.new_zeros(len(self.scale), batch.rows.shape[1])
            gram = self._gram(batch.rows)
            if not len(self.scale):
                continue  # there are more processes than classes
            signs = class_signs(batch.labels, stream.num_classes, batch.rows.dtype)[:, self.share]
            costs = c * class_weights(signs, positive_weight)
            before = self.duals[batch.indices].to(signs.dtype) * self.scale
            margins = linear(batch.rows, self.weights)
            block = BlockProblem(gram, signs, costs, margins, self.loss)
            kept = (block.solve(before) / self.scale).to(DUAL_DTYPE)
            self.duals[batch.indices] = kept
            after = kept.to(signs.dtype) * self.scale
            self.weights.addmm_((after - before).T, batch.rows)
            total += self.loss.dual_value(after, costs)
        return total

    def _gram(self, rows: Tensor) -> Tensor:
        """Return the products of the rows with each other, of which each process sums a share."""
        context = self.stream.context
        values = rows.tensor_split(context.world_size, dim=1)[context.rank]
        return context.sum(values @ values.T)

    def _relative_gap(
        self, weights: Tensor, dual_linear: Tensor, c: float, positive_weight: float
    ) -> float:
        size = float(weights.square().sum(dtype=torch.float64)) / 2
        primal = size + c * self.stream.total_loss(weights, self.loss, positive_weight)
        dual = float(self.stream.context.sum(dual_linear)) - size
        if not math.isfinite(primal):
            raise UserError(NOT_FINITE)
        return (primal - dual) / primal

    def _gather_weights(self) -> Tensor:
        """Return the weights of all processes' classes, (classes, features + 1)."""
        weights = self.weights.new_zeros(self.stream.num_classes, self.weights.shape[1])
        weights[self.share] = self.weights
        return self.stream.context.sum(weights)


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
            if sum(len(batch.rows) for batch in batches) >= RATE_TRIAL_ROWS:
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
