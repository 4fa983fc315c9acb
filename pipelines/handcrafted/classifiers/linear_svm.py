"""One-vs-rest linear support vector machines, all classes at once: the exact solver for rows that fit in memory.

For each class it minimizes what LIBLINEAR does (Fan et al., JMLR 2008), with labels y of +1 or -1,

    f(w) = 1/2 w.w + sum_i C_i loss(1 - y_i w.x_i),    loss(s) = max(0, s)^2 or max(0, s),

by Newton's method (Keerthi & DeCoste, JMLR 2005): the Hessian is that of the rows inside the margin, its system is solved by
conjugate gradients, and the step's length is exact. Each class has its own rows inside the margin and its own step, but all share
every pass over the rows; a class that is done drops out. The hinge is minimized with its corner rounded off, less and less (Chapelle,
Neural Computation 2007). The relative duality gap is then at most GAP, unless MAX_STEPS ran out
first: rows of great length with a large C (scikit-learn's digits, 0 to 16 a pixel, and C = 10) end some percent above the minimum, in float64
too. Standardized rows do not come near that for any useful C.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import linear

from harness.contract import UserError
from pipelines.handcrafted.classifiers.loss import Loss, LossName, class_signs, importance
from pipelines.handcrafted.classifiers.rows import Rows

GAP = 1e-3  # relative duality gap at which a class is done: f is then at most so much above its minimum
MAX_STEPS = 60  # Newton steps; 5 to 15 are usual
MAX_PRODUCTS = 40  # Hessian products a step
RESIDUAL = 0.1  # of the gradient's length, left over when a step's system counts as solved
LINE_STEPS = 50
STALE = (
    3.0  # ratio of mean curvatures up to which a preconditioner made for the one serves the other
)
NEVER = -1e6  # the margin of a class without rows
JITTER = 1e-6  # of the mean squared length of a row, about what products in float32 may be off
ROUNDING = 1e-6  # of its greatest element, by which float32 leaves a matrix of sums of squares short of positive definite
FIRST_CORNER, SHARPER, LAST_CORNER = (
    0.5,
    1 / 4,
    1e-4,
)  # of the rounded hinge, in units of the margin


class LinearSVM:
    """The solver for one set of rows and labels; `fit` may be called for one C after the other and starts from the last solution.

    rows     this process's share
    labels   (rows,) int64 in [0, classes)
    """

    def __init__(
        self, rows: Rows, labels: Tensor, classes: int, loss: LossName = "squared_hinge"
    ) -> None:
        self.rows, self.loss = rows, loss
        counts = torch.bincount(labels, minlength=classes).to(torch.float64)
        self.present = rows.context.sum(counts) > 0
        self.signs = class_signs(labels, classes, rows.dtype).to(rows.device)
        self.problem: Problem = Primal(rows) if rows.total > rows.features else Dual(rows)
        self.preconditioner = Preconditioner(self.problem)
        self.solution = torch.zeros(
            classes, self.problem.size, dtype=rows.dtype, device=rows.device
        )

    def fit(self, c: float, positive: float = 1.0) -> tuple[Tensor, Tensor]:
        """(classes, features) weights and (classes,) biases for plain features: margins = features @ weights.T + biases.

        positive  C_i is c for the rows of other classes, positive * c for those of the class
        A class without rows gets the bias NEVER, not the margin of about -1 that the minimum has: it would beat real classes.
        """
        costs = c * importance(self.signs, positive)
        if self.loss == "squared_hinge":
            self.solution, _ = minimize(
                self.problem, self.preconditioner, self.signs, costs, Loss(), self.solution
            )
        else:
            self.solution = self._sharpen(costs)
        weights, biases = self.rows.fold(self.problem.weights(self.solution))
        return weights * self.present[:, None], torch.where(self.present, biases, NEVER)

    def _sharpen(self, costs: Tensor) -> Tensor:
        """The minimum with the hinge loss, by way of ever sharper corners."""
        corner, solution = FIRST_CORNER, self.solution
        while corner >= LAST_CORNER:
            solution, missed = minimize(
                self.problem, self.preconditioner, self.signs, costs, Loss(corner), solution
            )
            if (missed <= GAP).all():
                break
            corner *= SHARPER
        return solution


class Problem(Protocol):
    """The rows in the coordinates in which the weights are sought; lengths of weight vectors are the same in all of them."""

    size: int
    rows: Rows

    def times(self, weights: Tensor) -> Tensor:
        """(classes, size) to (rows, classes)."""
        ...

    def transposed_times(self, coefficients: Tensor) -> Tensor:
        """(rows, classes) to (classes, size), summed over processes."""
        ...

    def curved_times(self, curvature: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """`times(weights)`, and `transposed_times(curvature * times(weights))`."""
        ...

    def squares(self) -> Tensor:
        """(size, size): about the sum of x x' over all rows; it preconditions."""
        ...

    def weights(self, solution: Tensor) -> Tensor:
        """(classes, size) to (classes, features + 1)."""
        ...


class Primal:
    """More rows than features: one weight a feature."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.size = rows.features + 1
        self.times = rows.times
        self.transposed_times = rows.transposed_times
        self.curved_times = rows.curved_times

    def squares(self) -> Tensor:
        context = self.rows.context
        sample = self.rows.sample(
            2 * self.size // context.world_size
        )  # twice as many rows as unknowns tell the axes well enough
        count = context.sum(
            torch.tensor(float(len(sample)), dtype=torch.float64, device=sample.device)
        )
        return context.sum(sample.T @ sample) * float(self.rows.total / count)

    def weights(self, solution: Tensor) -> Tensor:
        return solution


class Dual:
    """No more rows than features: the weights lie in the span of the rows. The Cholesky factor of their Gram matrix holds the rows
    in an orthonormal basis of that span."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.size = rows.total
        self.factor = rows.context.broadcast(cholesky(rows.gram()))
        self.own = slice(*rows.span())
        self.coordinates = self.factor[self.own].to(rows.dtype).contiguous()

    def times(self, weights: Tensor) -> Tensor:
        return linear(self.coordinates, weights)

    def transposed_times(self, coefficients: Tensor) -> Tensor:
        return self.rows.context.sum(coefficients.T @ self.coordinates)

    def curved_times(self, curvature: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        products = self.times(weights)
        return products, self.transposed_times(curvature * products)

    def squares(self) -> Tensor:
        factor = self.factor.to(self.rows.dtype)
        return factor.T @ factor

    def weights(self, solution: Tensor) -> Tensor:
        coefficients = torch.linalg.solve_triangular(self.factor.T, solution.T.double(), upper=True)
        return self.rows.transposed_times(coefficients[self.own].to(self.rows.dtype))


def cholesky(gram: Tensor) -> Tensor:
    """The factor of a Gram matrix, or of one near to it: repeated rows make it singular. Raises UserError where it holds NaN."""
    if not gram.isfinite().all():
        raise UserError("some of the features that the SVM is to learn from are not finite numbers")
    jitter = JITTER * float(gram.diagonal().mean())
    while True:
        gram.diagonal().add_(jitter)
        factor, failed = torch.linalg.cholesky_ex(gram)
        if not failed:
            return factor
        jitter *= 10


def minimize(
    problem: Problem,
    preconditioner: Preconditioner,
    signs: Tensor,
    costs: Tensor,
    loss: Loss,
    start: Tensor,
) -> tuple[Tensor, Tensor]:
    """The minimum for each class, and what the loss is below the hinge there, a share of the objective; (classes, size) and (classes,).

    signs and costs (C_i) are (rows, classes), start (classes, size).
    """
    total = problem.rows.context.sum
    weights = start.clone()
    margins = problem.times(weights)
    missed = torch.zeros(len(weights), dtype=torch.float64, device=weights.device)
    live = torch.arange(len(weights), device=weights.device)  # the classes not yet done
    # Without a total: how many steps it takes is not known before.
    for _ in problem.rows.context.progress(
        iter(range(MAX_STEPS)), label=f"fit {len(start):,} SVMs", unit="Newton step"
    ):
        slack, cost = 1 - signs[:, live] * margins[:, live], costs[:, live]
        gradient = weights[live] - problem.transposed_times(
            signs[:, live] * cost * loss.slope(slack)
        )
        parts = torch.stack([cost * loss.value(slack), cost * loss.missed(slack)])
        paid, below = total(parts.sum(1, dtype=torch.float64))
        objective = weights[live].double().square().sum(1) / 2 + paid
        missed[live] = below / objective
        # With the slopes, times their costs, as dual variables the duality gap is half the gradient's squared length.
        open_ = gradient.double().square().sum(1) / 2 > GAP * objective
        if not open_.any():
            break
        live, slack, cost, gradient = live[open_], slack[:, open_], cost[:, open_], gradient[open_]
        curvature = cost * loss.curvature(slack)
        step, along = solve_newton_system(problem, preconditioner, curvature, gradient)
        length = line_minimum(
            problem, weights[live], step, slack, -signs[:, live] * along, cost, loss
        )
        weights[live] += length[:, None].to(step.dtype) * step
        margins[:, live] += length.to(along.dtype) * along
    return weights, missed


def solve_newton_system(
    problem: Problem, preconditioner: Preconditioner, curvature: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor]:
    """Conjugate gradients on (1 + sum of curvature x x') step = -gradient; also returns the rows times the step.

    curvature (rows, classes); gradient and step (classes, size).
    """
    precondition = preconditioner.of(curvature)
    step, along = torch.zeros_like(gradient), torch.zeros_like(curvature)
    residual = -gradient
    conditioned = precondition(residual)
    direction = conditioned
    energy = _dot(residual, conditioned)
    goal = RESIDUAL**2 * energy
    for _ in range(MAX_PRODUCTS):
        products, image = problem.curved_times(curvature, direction)
        image = image + direction
        size = energy / _dot(direction, image)
        # A class that has arrived stands still while the others go on.
        size = torch.where(energy > goal, size, 0)[:, None]
        step += size * direction
        along += size.T * products
        residual = residual - size * image
        conditioned = precondition(residual)
        new_energy = _dot(residual, conditioned)
        if not (new_energy > goal).any():
            break
        direction = (
            conditioned + torch.where(energy > goal, new_energy / energy, 0)[:, None] * direction
        )
        energy = new_energy
    return step, along


class Preconditioner:
    """Solves the Newton system as if all rows had the mean curvature, or one like it, the same for each class.

    The factor of a matrix as large as the unknowns are many takes longer than several passes over the rows: it serves until the mean
    curvature has changed by more than STALE. Its inverse is then off by no more than that in any direction.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.squares = problem.squares()
        self.mean = math.inf  # curvature of a row, in `factor`
        self.factor = self.squares

    def of(self, curvature: Tensor) -> Callable[[Tensor], Tensor]:
        """For the curvature of (rows, classes): from residuals (classes, size) to steps."""
        context = self.problem.rows.context
        mean = float(context.sum(curvature.sum(dtype=torch.float64))) / (
            self.problem.rows.total * curvature.shape[1]
        )
        if not self.mean / STALE <= mean <= self.mean * STALE:
            matrix = self.squares * mean
            matrix.diagonal().add_(1 + ROUNDING * float(matrix.diagonal().max()))
            self.mean, self.factor = mean, torch.linalg.cholesky(matrix, out=matrix)
        # Triangular solves may differ in the last bit between processes, which would then part ways over when to stop.
        return lambda residual: context.broadcast(
            torch.cholesky_solve(residual.T, self.factor).T.contiguous()
        )


def line_minimum(
    problem: Problem,
    weights: Tensor,
    step: Tensor,
    slack: Tensor,
    change: Tensor,
    costs: Tensor,
    loss: Loss,
) -> Tensor:
    """(classes,) lengths t that minimize f(weights + t step), by Newton steps kept inside a bracket.

    slack at the weights, its change a unit of t, and costs: (rows, classes).
    """
    linear_term = (weights.double() * step.double()).sum(1)
    square_term = step.double().square().sum(1)
    length = torch.zeros_like(square_term)
    low, high = torch.zeros_like(length), torch.full_like(length, torch.inf)
    for _ in range(LINE_STEPS):
        there = slack + length.to(slack.dtype) * change
        terms = torch.stack(
            [costs * loss.slope(there) * change, costs * loss.curvature(there) * change.square()]
        )
        first, second = problem.rows.context.sum(terms.sum(1, dtype=torch.float64))
        slope = linear_term + length * square_term + first
        shift = -slope / (square_term + second)
        if (shift.abs() <= 1e-3 * length).all():
            break
        low, high = torch.where(slope < 0, length, low), torch.where(slope < 0, high, length)
        # Far from the margin the curvature is next to nothing and Newton's step too long.
        longest = torch.minimum(high, 4 * low + 1)
        length = length + shift
        length = torch.where((length <= low) | (length >= longest), (low + longest) / 2, length)
    return length


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(1)
