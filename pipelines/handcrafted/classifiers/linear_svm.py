"""One-vs-rest linear support vector machines, all classes at once, for rows that fit in memory.

For each class it minimizes what LIBLINEAR does (Fan et al., JMLR 2008), with labels y of +1 or -1,

    f(w) = 1/2 w.w + sum_i C_i loss(1 - y_i w.x_i),    loss(s) = max(0, s)^2 or max(0, s),

by the Newton method of `newton_cg`. The hinge is minimized with its corner rounded, less and less
(Chapelle, Neural Computation 2007).

It is our own because it is 34 times as fast as scikit-learn's LinearSVC on 102 classes of 3,060
rows of 40,960 values (docs/results/speed.md), runs on a GPU and splits the rows over processes.

The relative duality gap is at most DUALITY_GAP, unless MAX_STEPS runs out first: long rows with a
large C (scikit-learn's digits, 0 to 16 per pixel, with C = 10) end some percent above the minimum,
in float64 too. Standardized rows stay far from that for any useful C.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear

from harness.contract import UserError
from pipelines.handcrafted.classifiers.feature_rows import FeatureRows
from pipelines.handcrafted.classifiers.loss import Loss, LossName, class_signs, class_weights
from pipelines.handcrafted.classifiers.newton_cg import (
    DUALITY_GAP,
    WORKING_ARRAYS,
    Objective,
    Preconditioner,
    Problem,
    minimize,
)

NOT_FINITE = "the SVM cannot be fitted: some features of the training images are NaN or infinite"
UNSEEN_CLASS_MARGIN = -1e6  # the margin of a class without rows
FIRST_CORNER, LAST_CORNER = 0.5, 1e-4  # of the rounded hinge, in units of the margin
CORNER_FACTOR = 1 / 4  # from one corner to the next
WORKING_BYTES = 2**30
MIN_CLASSES = 64  # per pass over the rows, which takes hardly longer than with one class
JITTER = 1e-6  # of a row's mean squared length: about the error of products in float32


class LinearSVM:
    """The solver for one set of rows and labels.

    `fit` may be called for one C after the other; each fit starts from the last solution.

    Parameters
    ----------
    rows
        This process's share.
    labels : (rows,) int64 in [0, num_classes)
    num_classes
    loss
    """

    def __init__(
        self,
        rows: FeatureRows,
        labels: Tensor,
        num_classes: int,
        loss: LossName = "squared_hinge",
    ) -> None:
        self.rows, self.loss, self.labels = rows, loss, labels.to(rows.device)
        counts = torch.bincount(labels, minlength=num_classes).to(torch.float64)
        self.seen = rows.context.sum(counts) > 0
        self.problem: Problem = Primal(rows) if rows.total > rows.features else Dual(rows)
        self.preconditioner = Preconditioner(self.problem)
        self.solution = torch.zeros(
            num_classes, self.problem.size, dtype=rows.dtype, device=rows.device
        )

    def fit(self, c: float, positive_weight: float = 1.0) -> tuple[Tensor, Tensor]:
        """Fit all classes.

        A class without rows gets the bias UNSEEN_CLASS_MARGIN: at the minimum its margin is about
        -1, which would beat real classes.

        Parameters
        ----------
        c
        positive_weight
            C_i is positive_weight * c for the rows of the class and c for the other rows.

        Returns
        -------
        weights : (classes, features)
        biases : (classes,)
            For plain features: margins = features @ weights.T + biases.
        """
        width = classes_at_a_time(self.rows.total / self.rows.context.world_size)
        for first in range(0, len(self.solution), width):
            classes = slice(first, first + width)
            self.solution[classes] = self._fit_classes(classes, c, positive_weight)
        weights, biases = self.rows.fold(self.problem.to_weights(self.solution))
        return weights * self.seen[:, None], torch.where(self.seen, biases, UNSEEN_CLASS_MARGIN)

    def _fit_classes(self, classes: slice, c: float, positive_weight: float) -> Tensor:
        """Return the solution of some classes: (classes, size)."""
        signs = class_signs(self.labels, len(self.solution), self.rows.dtype)[:, classes]
        signs = signs.contiguous()
        costs = c * class_weights(signs, positive_weight)
        start = self.solution[classes]
        if self.loss == "squared_hinge":
            return self._minimize(signs, costs, Loss(), start)[0]
        return self._minimize_hinge(signs, costs, start)

    def _minimize(
        self, signs: Tensor, costs: Tensor, loss: Loss, start: Tensor
    ) -> tuple[Tensor, Tensor]:
        objective = Objective(self.problem, signs, costs, loss)
        return minimize(objective, self.preconditioner, start)

    def _minimize_hinge(self, signs: Tensor, costs: Tensor, solution: Tensor) -> Tensor:
        """Minimize the hinge loss by way of ever sharper corners."""
        corner = FIRST_CORNER
        while corner >= LAST_CORNER:
            solution, rounding_error = self._minimize(signs, costs, Loss(corner), solution)
            if (rounding_error <= DUALITY_GAP).all():
                break
            corner *= CORNER_FACTOR
        return solution


def classes_at_a_time(rows: float) -> int:
    """Return how many classes are fitted at a time to this many rows per process.

    Their working arrays have WORKING_BYTES, or more where that would be fewer than MIN_CLASSES.
    """
    return max(MIN_CLASSES, int(WORKING_BYTES / (WORKING_ARRAYS * 4 * max(rows, 1))))


class Primal:
    """The `Problem` when there are more rows than features: one unknown per feature."""

    def __init__(self, rows: FeatureRows) -> None:
        self.rows = rows
        self.size = rows.features + 1
        self.times = rows.times
        self.transposed_times = rows.transposed_times
        self.hessian_times = rows.hessian_times

    def approximate_gram(self) -> Tensor:
        context = self.rows.context
        # Twice as many rows as unknowns determine the principal axes well enough.
        sample = self.rows.sample(2 * self.size // context.world_size)
        count = torch.tensor(float(len(sample)), dtype=torch.float64, device=sample.device)
        scale = float(self.rows.total / context.sum(count))
        return context.sum(sample.T @ sample) * scale

    def to_weights(self, solution: Tensor) -> Tensor:
        return solution


class Dual:
    """The `Problem` when there are no more rows than features: one unknown per row.

    The weights lie in the span of the rows. The Cholesky factor of their Gram matrix holds the
    rows' coordinates in an orthonormal basis of that span.
    """

    def __init__(self, rows: FeatureRows) -> None:
        self.rows = rows
        self.size = rows.total
        self.factor = rows.context.broadcast(cholesky(rows.gram()))
        self.share = slice(*rows.span())
        self.coordinates = self.factor[self.share].to(rows.dtype).contiguous()

    def times(self, solution: Tensor) -> Tensor:
        return linear(self.coordinates, solution)

    def transposed_times(self, coefficients: Tensor) -> Tensor:
        return self.rows.context.sum(coefficients.T @ self.coordinates)

    def hessian_times(self, curvature: Tensor, solution: Tensor) -> tuple[Tensor, Tensor]:
        margins = self.times(solution)
        return margins, self.transposed_times(curvature * margins)

    def approximate_gram(self) -> Tensor:
        factor = self.factor.to(self.rows.dtype)
        return factor.T @ factor

    def to_weights(self, solution: Tensor) -> Tensor:
        coefficients = torch.linalg.solve_triangular(self.factor.T, solution.T.double(), upper=True)
        return self.rows.transposed_times(coefficients[self.share].to(self.rows.dtype))


def cholesky(gram: Tensor) -> Tensor:
    """Return the Cholesky factor of a Gram matrix plus enough jitter.

    Repeated rows make a Gram matrix singular. Raises UserError where it is not finite.
    """
    if not gram.isfinite().all():
        raise UserError(NOT_FINITE)
    jitter = JITTER * float(gram.diagonal().mean())
    while True:
        gram.diagonal().add_(jitter)
        factor, failed = torch.linalg.cholesky_ex(gram)
        if not failed:
            return factor
        jitter *= 10
