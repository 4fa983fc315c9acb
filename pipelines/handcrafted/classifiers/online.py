"""Linear classifiers that see a stream of rows one after the other: memory for the weights, not for the rows.

An update changes all classes' weights by multiples of the row seen: w <- decay w + change x. So the margins of a whole batch of rows follow
from the batch's products with the weights before it and with each other, and what remains to be done row by row is as small as the number
of classes. The result is that of single updates; of many processes, each learns it from the rows of all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import linear, pad

from harness.contract import Context
from pipelines.handcrafted.classifiers.linear_svm import NEVER
from pipelines.handcrafted.classifiers.loss import Loss
from pipelines.handcrafted.features import Features, gathered

BATCH = (
    128  # rows: what their products with each other cost is then less than what reading them does
)
MOST_EPOCHS = 200
GAP = 1e-2  # relative duality gap at which dual coordinate ascent ends
RATES = [
    2.0**power for power in range(-4, 9)
]  # first learning rates tried, for rows of mean squared length 1
TRIED_ROWS = 1024

Floats = NDArray[np.float64]


class Rule(Protocol):
    """What a row does to the weights: (change (classes,), decay). `row` is its place in the batch, `square` its squared length."""

    def __call__(
        self, row: int, margins: Floats, label: int, square: float
    ) -> tuple[Floats, float]: ...


@dataclass
class DualAscent:
    """Dual coordinate ascent on a one-vs-rest SVM (Hsieh et al., ICML 2008): each row's dual variable goes where it is best.

    duals     (n, classes) of the rows of the batch, changed in place
    positive  how often a row counts for its own class
    """

    loss: Loss
    c: float
    positive: float = 1.0
    duals: Floats = field(default_factory=lambda: np.empty((0, 0)))

    def __call__(
        self, row: int, margins: Floats, label: int, square: float
    ) -> tuple[Floats, float]:
        signs, costs = signs_and_costs(label, len(margins), self.c, self.positive)
        before = self.duals[row]
        after = self.loss.best_dual(before, 1 - signs * margins, costs, square)
        change = after - before
        self.duals[row] = after
        return signs * change, 1.0


@dataclass
class ImplicitSGD:
    """Stochastic gradient descent on a one-vs-rest SVM: the mean loss and regularization / 2 w.w, with the steps of Xu (2011).

    first_rate  of the first step; it falls as (1 + regularization first_rate t)^(-3/4)

    The gradient is that after the step (Toulis & Airoldi, Annals of Statistics 2017), which no rate makes diverge.
    """

    loss: Loss
    regularization: float
    first_rate: float
    positive: float = 1.0
    steps: int = 0

    def __call__(
        self, row: int, margins: Floats, label: int, square: float
    ) -> tuple[Floats, float]:
        rate = self.first_rate * (1 + self.regularization * self.first_rate * self.steps) ** -0.75
        self.steps += 1
        decay = 1 / (1 + rate * self.regularization)
        signs, rates = signs_and_costs(label, len(margins), rate * decay, self.positive)
        return signs * self.loss.implicit_step(1 - signs * decay * margins, rates, square), decay


@dataclass
class PassiveAggressive:
    """PA-I (Crammer et al., JMLR 2006): the smallest change that gives the row a margin of 1, but no more than `aggressiveness` of the row.

    one_vs_rest  each class for itself; else the row's class and the highest of the others alone move (their section 7)
    """

    aggressiveness: float
    one_vs_rest: bool = False

    def __call__(
        self, row: int, margins: Floats, label: int, square: float
    ) -> tuple[Floats, float]:
        if self.one_vs_rest:
            signs, most = signs_and_costs(label, len(margins), self.aggressiveness, 1.0)
            return signs * np.minimum(most, np.maximum(0, 1 - signs * margins) / square), 1.0
        others, change = margins.copy(), np.zeros(len(margins))
        others[label] = -np.inf
        rival = int(others.argmax())
        change[label] = min(
            self.aggressiveness, max(0.0, 1 - margins[label] + margins[rival]) / (2 * square)
        )
        change[rival] = -change[label]
        return change, 1.0


def signs_and_costs(
    label: int, classes: int, cost: float, positive: float
) -> tuple[Floats, Floats]:
    """(classes,) each: +1 for the row's own class and -1 for the others; cost, `positive` times that for its own."""
    signs, costs = np.full(classes, -1.0), np.full(classes, cost)
    signs[label] = 1
    costs[label] *= positive
    return signs, costs


class Averaged:
    """Weights (classes, features + 1), and their mean over the steps since `restart`; the last weight is the bias.

    averaged  False: nobody will ask for the mean, which takes as much memory as the weights and half as much time again
    """

    def __init__(self, classes: int, features: int, like: Tensor, *, averaged: bool = True) -> None:
        self.weights, self.averaged = like.new_zeros(classes, features), averaged
        self.restart()

    def restart(self) -> None:
        self.total, self.steps = (
            torch.zeros_like(self.weights if self.averaged else self.weights[:0]),
            0,
        )

    @property
    def mean(self) -> Tensor:
        return self.total / max(1, self.steps)

    def learn(self, rows: Tensor, labels: Tensor, rule: Rule) -> None:
        """See (n, features + 1) rows one after the other."""
        products = linear(rows, self.weights).double().cpu().numpy()
        gram = (rows @ rows.T).double().cpu().numpy()
        changes, scales = _one_by_one(products, gram, labels.cpu().numpy(), rule)
        # After step t the weights are scales[t] * (weights before + the rows up to t times their changes).
        if self.averaged:
            later = np.cumsum(scales[::-1])[::-1]
            self.total += (
                scales.sum() * self.weights
                + torch.from_numpy(later[:, None] * changes).to(rows).T @ rows
            )
        self.weights = scales[-1] * (self.weights + torch.from_numpy(changes).to(rows).T @ rows)
        self.steps += len(rows)


def _one_by_one(
    products: Floats, gram: Floats, labels: NDArray[np.int64], rule: Rule
) -> tuple[Floats, Floats]:
    """(changes (n, classes), scales (n,)) of the rows from their products with the weights before (n, classes) and with each other."""
    changes, scales, scale = np.zeros_like(products), np.empty(len(products)), 1.0
    for t in range(len(products)):
        margins = scale * (products[t] + gram[t, :t] @ changes[:t])
        change, decay = rule(t, margins, int(labels[t]), gram[t, t])
        scale *= decay
        changes[t], scales[t] = change / scale, scale
    return changes, scales


@dataclass(frozen=True)
class Stream:
    """The rows of all processes that are learned from, with a constant appended; they should stand in no order within their split.

    features  of train, and of tune
    """

    features: Sequence[Features]
    num_classes: int
    context: Context

    @property
    def chunks(self) -> list[tuple[Features, int]]:
        return [(part, place) for part in self.features for place in range(len(part))]

    @property
    def rows(self) -> int:
        return sum(part.size(place) for part, place in self.chunks)

    def epoch(self, number: int) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
        """Chunks, and the rows in each, in an order drawn by seed and number, BATCH at a time: (chunk, which of its rows, rows, labels)."""
        generator = torch.Generator().manual_seed(self.context.seed + number)
        chunks = self.chunks
        for chunk in torch.randperm(len(chunks), generator=generator).tolist():
            part, place = chunks[chunk]
            yield from self._batches(chunk, torch.randperm(part.size(place), generator=generator))

    def _batches(self, chunk: int, order: Tensor) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
        part, place = self.chunks[chunk]
        own = part[place]
        for wanted in order.split(BATCH):
            rows = gathered(own["features"], wanted, self.context)
            labels = gathered(own["labels"][:, None], wanted, self.context).squeeze(1)
            yield chunk, wanted, pad(rows, (0, 1), value=1.0), labels

    def total_loss(self, weights: Tensor, loss: Loss, positive: float) -> float:
        """The sum over all rows and classes."""
        total = torch.zeros((), dtype=torch.float64, device=weights.device)
        for part, place in self.chunks:
            own = part[place]
            total += loss.total(
                linear(own["features"], weights[:, :-1], weights[:, -1]), own["labels"], positive
            )
        return float(self.context.sum(total))


class OnlineDualAscent:
    """One-vs-rest SVMs by dual coordinate ascent, to a relative duality gap of GAP: memory for one number a row and class.

    What `LinearSVM` minimizes, and the same treatment of the bias.
    """

    def __init__(self, stream: Stream, loss: Loss) -> None:
        self.stream, self.loss = stream, loss

    def fit(self, c: float, positive: float = 1.0) -> tuple[Tensor, Tensor]:
        """(classes, features) weights and (classes,) biases; a class without rows gets the bias NEVER."""
        stream, rule = self.stream, DualAscent(self.loss, c, positive)
        duals = [
            np.zeros((part.size(place), stream.num_classes), dtype=np.float32)
            for part, place in stream.chunks
        ]
        seen = np.zeros(stream.num_classes, dtype=bool)
        model: Averaged | None = None
        for epoch in range(MOST_EPOCHS):
            linear_part = 0.0  # of the dual objective
            for chunk, wanted, rows, labels in stream.epoch(epoch):
                model = model or Averaged(stream.num_classes, rows.shape[1], rows, averaged=False)
                rule.duals = duals[chunk][wanted].astype(np.float64)
                model.learn(rows, labels, rule)
                duals[chunk][wanted] = rule.duals
                seen[labels.cpu().numpy()] = True
                linear_part += self.loss.dual_value(rule.duals, labels.cpu().numpy(), c, positive)
            assert model
            size = float(model.weights.double().square().sum()) / 2
            primal = size + c * stream.total_loss(model.weights, self.loss, positive)
            if primal - (linear_part - size) <= GAP * primal:
                break
        assert model
        return without_unseen(model.weights, torch.from_numpy(seen))


class OnlineSGD:
    """One-vs-rest SVMs by averaged stochastic gradient descent (Lin et al., CVPR 2011), over so many epochs, the first not averaged."""

    def __init__(self, stream: Stream, loss: Loss, epochs: int) -> None:
        self.stream, self.loss, self.epochs = stream, loss, epochs

    def fit(self, c: float, positive: float = 1.0) -> tuple[Tensor, Tensor]:
        """(classes, features) weights and (classes,) biases; a class without rows gets the bias NEVER."""
        regularization = 1 / (c * self.stream.rows)
        rule = ImplicitSGD(
            self.loss, regularization, self._first_rate(regularization, positive), positive
        )
        model: Averaged | None = None
        seen = torch.zeros(self.stream.num_classes, dtype=torch.bool)
        for epoch in range(self.epochs):
            if model and epoch == 1:
                model.restart()
            for _, _, rows, labels in self.stream.epoch(epoch):
                model = model or Averaged(self.stream.num_classes, rows.shape[1], rows)
                model.learn(rows, labels, rule)
                seen[labels.cpu()] = True
        assert model
        return without_unseen(model.mean, seen)

    def _first_rate(self, regularization: float, positive: float) -> float:
        """Of RATES the one that leaves the lowest objective on a few rows after seeing them once (as Bottou's svmasgd finds it)."""
        rows, labels = self._few()
        objectives = []
        for rate in RATES:
            rate = rate / float(rows.square().sum(1).mean())
            model = Averaged(self.stream.num_classes, rows.shape[1], rows)
            model.learn(rows, labels, ImplicitSGD(self.loss, regularization, rate, positive))
            paid = float(self.loss.total(linear(rows, model.weights), labels, positive)) / len(rows)
            objectives.append(
                (paid + regularization * float(model.weights.square().sum()) / 2, rate)
            )
        return min(objectives)[1]

    def _few(self) -> tuple[Tensor, Tensor]:
        found: list[tuple[Tensor, Tensor]] = []
        for _, _, rows, labels in self.stream.epoch(0):
            found.append((rows, labels))
            if BATCH * len(found) >= TRIED_ROWS:
                break
        rows, labels = (torch.cat(part) for part in zip(*found, strict=True))
        return rows, labels


class OnlinePassiveAggressive:
    """A linear classifier of the averaged passive-aggressive algorithm after so many epochs."""

    def __init__(self, stream: Stream, one_vs_rest: bool, epochs: int) -> None:
        self.stream, self.one_vs_rest, self.epochs = stream, one_vs_rest, epochs

    def fit(self, c: float, positive: float = 1.0) -> tuple[Tensor, Tensor]:
        """(classes, features) weights and (classes,) biases; c is the aggressiveness. A class without rows gets the bias NEVER."""
        rule = PassiveAggressive(c, self.one_vs_rest)
        model: Averaged | None = None
        seen = torch.zeros(self.stream.num_classes, dtype=torch.bool)
        for epoch in range(self.epochs):
            for _, _, rows, labels in self.stream.epoch(epoch):
                model = model or Averaged(self.stream.num_classes, rows.shape[1], rows)
                model.learn(rows, labels, rule)
                seen[labels.cpu()] = True
        assert model
        return without_unseen(model.mean, seen)


def without_unseen(weights: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """(classes, features + 1) to weights and biases; a class without rows gets NEVER: its margin of about -1 would beat real classes."""
    there = seen.to(weights.device)
    return weights[:, :-1] * there[:, None], torch.where(there, weights[:, -1], NEVER)
