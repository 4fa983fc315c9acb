"""The linear classifiers that a chain can end in.

A `Learner` says how feature rows are kept, which values of C are tried, and which solver fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from harness.contract import Context, State
from pipelines.handcrafted.classifiers.capacity import FitSize, exact_memory_bytes
from pipelines.handcrafted.classifiers.feature_rows import FeatureRows
from pipelines.handcrafted.classifiers.linear_svm import LinearSVM
from pipelines.handcrafted.classifiers.loss import Loss, LossName
from pipelines.handcrafted.classifiers.row_stream import RowStream
from pipelines.handcrafted.classifiers.streamed_solvers import (
    StreamedDualAscent,
    StreamedPassiveAggressive,
    StreamedSGD,
)
from pipelines.handcrafted.features import Features

SolverName = Literal["auto", "exact", "streamed"]
MEMORY_SHARE = 0.5  # of the free memory that an exact fit may take to be chosen


@dataclass(frozen=True)
class CGrid:
    """Values of C to choose from on tune.

    Parameters
    ----------
    values : increasing
    default
        Taken without tune, and preferred among values that tune cannot tell apart.
    """

    values: tuple[float, ...]
    default: float


# For rows of mean squared length 1, as standardizing gives them.
STANDARDIZED_GRID = CGrid((0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0), 1.0)
# For rows of length 1; VLFeat's applications fix C = 10.
UNIT_LENGTH_GRID = CGrid((0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0), 10.0)
# Multiples of a row of length 1 that one passive-aggressive update may add.
AGGRESSIVENESS_GRID = CGrid((0.001, 0.01, 0.1), 0.01)


class Solver(Protocol):
    """Fits linear classifiers for one set of rows; `fit` may be called again with other values."""

    def fit(self, c: float, positive_weight: float = 1.0) -> tuple[Tensor, Tensor]:
        """Fit all classes.

        Parameters
        ----------
        c
            Trade-off between the loss and the size of the weights.
        positive_weight
            Weight of a row's loss for its own class.

        Returns
        -------
        weights : (classes, features)
        biases : (classes,)
            UNSEEN_CLASS_MARGIN for a class without rows.
        """
        ...


class LearnerChoice(Protocol):
    """The settings of a linear classifier, before the number of rows is known."""

    @property
    def c_grid(self) -> CGrid:
        """The values of C to choose from."""
        ...

    def for_size(self, size: FitSize, context: Context) -> Learner:
        """Return the learner for this many rows, which may depend on the free memory."""
        ...


class Learner(LearnerChoice, Protocol):
    """The settings of a linear classifier."""

    @property
    def quantize(self) -> bool:
        """Whether features are kept as bytes (`encoders.quantizer`)."""
        ...

    @property
    def half(self) -> bool:
        """Whether features are kept in half precision."""
        ...

    @property
    def streams(self) -> bool:
        """Whether features are read chunk by chunk; otherwise all are held in memory."""
        ...

    def make_solver(
        self, splits: Sequence[Iterable[State]], num_classes: int, context: Context
    ) -> Solver:
        """Return a solver for the chunks of features of one or more splits.

        Parameters
        ----------
        splits
            `Features` if the learner streams; otherwise any iterables of their chunks.
        """
        ...


@dataclass(frozen=True)
class SVMSettings:
    """What one-vs-rest SVMs have in common, whatever solves them.

    Parameters
    ----------
    standardize
        Scale each feature to mean 0 and equal variance; otherwise rows are used as they are, and
        should have a length of about 1.
    custom_grid : CGrid or None
        None is STANDARDIZED_GRID or UNIT_LENGTH_GRID, by `standardize`.
    loss
    quantize
        Keep features as bytes; otherwise those that are streamed are kept in half precision.
    """

    standardize: bool = False
    custom_grid: CGrid | None = None
    loss: LossName = "squared_hinge"
    quantize: bool = False

    @property
    def c_grid(self) -> CGrid:
        if self.custom_grid:
            return self.custom_grid
        return STANDARDIZED_GRID if self.standardize else UNIT_LENGTH_GRID


@dataclass(frozen=True)
class ExactSVM(SVMSettings):
    """SVMs solved to a duality gap of 0.1 %, all rows in memory."""

    half, streams = False, False

    def for_size(self, size: FitSize, context: Context) -> Learner:
        return self

    def make_solver(
        self, splits: Sequence[Iterable[State]], num_classes: int, context: Context
    ) -> Solver:
        chunks = [chunk for split in splits for chunk in split]
        blocks = [chunk["features"] for chunk in chunks]
        labels = torch.cat([chunk["labels"] for chunk in chunks])
        make_rows = FeatureRows.standardized if self.standardize else FeatureRows
        return LinearSVM(make_rows(blocks, context), labels, num_classes, self.loss)


@dataclass(frozen=True)
class StreamedSVM(SVMSettings):
    """SVMs solved to a duality gap of 1 % by dual ascent, the rows read chunk by chunk."""

    streams = True

    @property
    def half(self) -> bool:
        return not self.quantize

    def for_size(self, size: FitSize, context: Context) -> Learner:
        return self

    def make_solver(
        self, splits: Sequence[Iterable[State]], num_classes: int, context: Context
    ) -> Solver:
        stream = _row_stream(splits, num_classes, context)
        if self.standardize:
            stream = stream.standardized()
        return StreamedDualAscent(stream, Loss.from_name(self.loss))


@dataclass(frozen=True)
class SVM(SVMSettings):
    """SVMs by either solver.

    Parameters
    ----------
    solver
        "auto" is "exact" if `exact_memory_bytes` is at most MEMORY_SHARE of the free memory, and
        "streamed" otherwise.
    """

    solver: SolverName = "auto"

    def for_size(self, size: FitSize, context: Context) -> Learner:
        solver = _fitting_solver(size, context) if self.solver == "auto" else self.solver
        make_learner = ExactSVM if solver == "exact" else StreamedSVM
        return make_learner(self.standardize, self.custom_grid, self.loss, self.quantize)


def _fitting_solver(size: FitSize, context: Context) -> SolverName:
    """Return the exact solver if it fits; note why it does not."""
    needed, free = exact_memory_bytes(size), context.free_memory()
    if needed <= MEMORY_SHARE * free:
        return "exact"
    context.note(
        f"streamed SVM: the exact one needs {needed / 1e9:.1f} GB, more than "
        f"{MEMORY_SHARE:.0%} of the {free / 1e9:.1f} GB of free memory"
    )
    return "streamed"


@dataclass(frozen=True)
class AveragedSGD:
    """One-vs-rest SVMs by averaged stochastic gradient descent, for rows of about length 1."""

    loss: LossName = "hinge"
    epochs: int = 5
    quantize: bool = False
    half: bool = False
    streams: bool = True
    c_grid: CGrid = UNIT_LENGTH_GRID

    def for_size(self, size: FitSize, context: Context) -> Learner:
        return self

    def make_solver(
        self, splits: Sequence[Iterable[State]], num_classes: int, context: Context
    ) -> Solver:
        stream = _row_stream(splits, num_classes, context)
        return StreamedSGD(stream, Loss.from_name(self.loss), self.epochs)


@dataclass(frozen=True)
class AveragedPassiveAggressive:
    """The averaged passive-aggressive algorithm; C is its aggressiveness."""

    one_vs_rest: bool = False
    epochs: int = 10
    quantize: bool = False
    half: bool = False
    streams: bool = True
    c_grid: CGrid = AGGRESSIVENESS_GRID

    def for_size(self, size: FitSize, context: Context) -> Learner:
        return self

    def make_solver(
        self, splits: Sequence[Iterable[State]], num_classes: int, context: Context
    ) -> Solver:
        stream = _row_stream(splits, num_classes, context)
        return StreamedPassiveAggressive(stream, self.one_vs_rest, self.epochs)


def _row_stream(splits: Sequence[Iterable[State]], num_classes: int, context: Context) -> RowStream:
    features = [split for split in splits if isinstance(split, Features)]
    return RowStream(features, num_classes, context)
