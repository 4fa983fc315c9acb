"""The linear classifiers that a chain can end in: how rows are kept for them, what they may be given for C, and who solves for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from harness.contract import Context, State
from pipelines.handcrafted.classifiers.linear_svm import LinearSVM
from pipelines.handcrafted.classifiers.loss import Loss, LossName
from pipelines.handcrafted.classifiers.online import (
    OnlineDualAscent,
    OnlinePassiveAggressive,
    OnlineSGD,
    Stream,
)
from pipelines.handcrafted.classifiers.rows import Rows
from pipelines.handcrafted.features import Features


@dataclass(frozen=True)
class CGrid:
    """Rising values of C to choose from on tune, and the one to take without tune or when tune does not tell."""

    values: tuple[float, ...]
    default: float


STANDARDIZED = CGrid(
    (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0), 1.0
)  # rows of mean squared length 1 suit descriptors of any length
NORMALIZED = CGrid(
    (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0), 10.0
)  # rows of length 1; VLFeat's applications fix 10
AGGRESSIVENESS = CGrid(
    (0.001, 0.01, 0.1), 0.01
)  # of the row that an update may add at most, for rows of length 1


class Solver(Protocol):
    def fit(self, c: float, positive: float = 1.0) -> tuple[Tensor, Tensor]:
        """(classes, features) weights and (classes,) biases; rows of a class count `positive` times for it."""
        ...


class Learner(Protocol):
    """grid is of C; `quantize`: features are kept as bytes; `streams`: they are read chunk by chunk, else all held in memory."""

    @property
    def grid(self) -> CGrid: ...
    @property
    def quantize(self) -> bool: ...
    @property
    def streams(self) -> bool: ...

    def solver(self, parts: Sequence[Iterable[State]], classes: int, context: Context) -> Solver:
        """For the chunks of all parts: `Features` where it streams."""
        ...


@dataclass(frozen=True)
class ExactSVM:
    """One-vs-rest SVMs solved exactly.

    standardize  each feature to mean 0 and equal variance, else rows are taken as the channel gives them
    own_grid     of C; None: STANDARDIZED or NORMALIZED, as the rows are
    """

    standardize: bool = False
    own_grid: CGrid | None = None
    loss: LossName = "squared_hinge"
    quantize: bool = False
    streams: bool = False

    @property
    def grid(self) -> CGrid:
        return self.own_grid or (STANDARDIZED if self.standardize else NORMALIZED)

    def solver(self, parts: Sequence[Iterable[State]], classes: int, context: Context) -> Solver:
        chunks = [chunk for part in parts for chunk in part]
        blocks = [chunk["features"] for chunk in chunks]
        rows = Rows.standardized(blocks, context) if self.standardize else Rows(blocks, context)
        return LinearSVM(rows, torch.cat([chunk["labels"] for chunk in chunks]), classes, self.loss)


@dataclass(frozen=True)
class StreamedSVM:
    """One-vs-rest SVMs by dual coordinate ascent; rows of about length 1."""

    loss: LossName = "squared_hinge"
    quantize: bool = True
    streams: bool = True
    grid: CGrid = NORMALIZED

    def solver(self, parts: Sequence[Iterable[State]], classes: int, context: Context) -> Solver:
        return OnlineDualAscent(_stream(parts, classes, context), Loss.named(self.loss))


@dataclass(frozen=True)
class AveragedSGD:
    """One-vs-rest SVMs by averaged stochastic gradient descent; rows of about length 1."""

    loss: LossName = "hinge"
    epochs: int = 5
    quantize: bool = False
    streams: bool = True
    grid: CGrid = NORMALIZED

    def solver(self, parts: Sequence[Iterable[State]], classes: int, context: Context) -> Solver:
        return OnlineSGD(_stream(parts, classes, context), Loss.named(self.loss), self.epochs)


@dataclass(frozen=True)
class AveragedPassiveAggressive:
    """The averaged passive-aggressive algorithm; C is its aggressiveness."""

    one_vs_rest: bool = False
    epochs: int = 10
    quantize: bool = False
    streams: bool = True
    grid: CGrid = AGGRESSIVENESS

    def solver(self, parts: Sequence[Iterable[State]], classes: int, context: Context) -> Solver:
        return OnlinePassiveAggressive(
            _stream(parts, classes, context), self.one_vs_rest, self.epochs
        )


def _stream(parts: Sequence[Iterable[State]], classes: int, context: Context) -> Stream:
    return Stream([part for part in parts if isinstance(part, Features)], classes, context)
