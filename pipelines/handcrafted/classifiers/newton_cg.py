"""Newton's method for one-vs-rest linear SVMs, all classes at once (Keerthi & DeCoste, JMLR 2005).

The Hessian is that of the rows inside the margin, its system is solved by conjugate gradients, and
the step length is exact. Each class has its own rows inside the margin and its own step, but all
classes share every pass over the rows; a class that has converged is dropped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pipelines.handcrafted.classifiers.feature_rows import FeatureRows
from pipelines.handcrafted.classifiers.loss import Loss

DUALITY_GAP = 1e-3  # relative: a converged objective is at most this far above its minimum
MAX_STEPS = 60  # Newton steps; 5 to 15 are usual
MAX_CG_ITERATIONS = 40  # Hessian products per Newton step
CG_TOLERANCE = 0.1  # length of the residual at which a system is solved, relative to the gradient
MAX_LINE_SEARCH_STEPS = 50
WORKING_ARRAYS = 18  # (rows, classes) arrays in memory at the most, in the line search
MAX_CURVATURE_RATIO = 3.0  # between mean curvatures for which one preconditioner serves
# Relative to the greatest entry: by this much float32 can leave a Gram matrix short of positive
# definite.
ROUNDING = 1e-6


class Problem(Protocol):
    """The rows, in the coordinates in which the weights are sought.

    Vectors of unknowns have the length of the weight vectors that they stand for.
    """

    size: int
    """Number of unknowns per class."""
    rows: FeatureRows

    def times(self, solution: Tensor) -> Tensor:
        """Return this process's margins: (classes, size) -> (rows, classes)."""
        ...

    def transposed_times(self, coefficients: Tensor) -> Tensor:
        """Return the sum of all processes' rows: (rows, classes) -> (classes, size)."""
        ...

    def hessian_times(self, curvature: Tensor, solution: Tensor) -> tuple[Tensor, Tensor]:
        """Return `times(solution)` and `transposed_times(curvature * times(solution))`."""
        ...

    def approximate_gram(self) -> Tensor:
        """Return about the sum of x x' over all rows, (size, size), to precondition with."""
        ...

    def to_weights(self, solution: Tensor) -> Tensor:
        """Return the weights of a solution: (classes, size) -> (classes, features + 1)."""
        ...


@dataclass(frozen=True)
class Objective:
    """The function f(w) of every class, see `linear_svm`.

    Parameters
    ----------
    problem
    signs : (rows, classes)
        The labels y, +1 or -1.
    costs : (rows, classes)
        The C_i.
    loss
    """

    problem: Problem
    signs: Tensor
    costs: Tensor
    loss: Loss

    def for_classes(self, classes: Tensor) -> Objective:
        """Return the objective of these classes alone."""
        return Objective(self.problem, self.signs[:, classes], self.costs[:, classes], self.loss)

    def gradient(self, weights: Tensor, slack: Tensor) -> Tensor:
        """Return (classes, size), given the slack (rows, classes) at the weights."""
        slopes = self.signs * self.costs * self.loss.slope(slack)
        return weights - self.problem.transposed_times(slopes)

    def value(self, weights: Tensor, slack: Tensor) -> tuple[Tensor, Tensor]:
        """Return the objective and what the rounded corner takes off it, (classes,) float64."""
        losses = self.costs * self.loss.value(slack)
        rounding = self.costs * self.loss.rounding_error(slack)
        sums = torch.stack([losses, rounding]).sum(1, dtype=torch.float64)
        loss_sum, rounding_sum = self.problem.rows.context.sum(sums)
        return weights.double().square().sum(1) / 2 + loss_sum, rounding_sum


def minimize(
    objective: Objective, preconditioner: Preconditioner, start: Tensor
) -> tuple[Tensor, Tensor]:
    """Minimize the objective of every class.

    Parameters
    ----------
    objective, preconditioner
    start : (classes, size)

    Returns
    -------
    solution : (classes, size)
    rounding_error : (classes,) float64
        How far the rounded hinge is below the hinge there, relative to the objective.
    """
    problem, context = objective.problem, objective.problem.rows.context
    weights = start.clone()
    margins = problem.times(weights)
    rounding_error = torch.zeros(len(weights), dtype=torch.float64, device=weights.device)
    live = torch.arange(len(weights), device=weights.device)  # classes that have not converged
    # An iterator has no total: the number of steps is not known in advance.
    for _ in context.progress(
        iter(range(MAX_STEPS)), label=f"fit {len(start):,} SVMs", unit="Newton step"
    ):
        current = objective.for_classes(live)
        slack = 1 - current.signs * margins[:, live]
        gradient = current.gradient(weights[live], slack)
        value, rounding = current.value(weights[live], slack)
        rounding_error[live] = rounding / value
        # With cost * slope as dual variables, the duality gap is half the gradient's squared
        # length.
        unconverged = gradient.double().square().sum(1) / 2 > DUALITY_GAP * value
        if not unconverged.any():
            break
        live, slack, gradient = live[unconverged], slack[:, unconverged], gradient[unconverged]
        current = current.for_classes(unconverged)
        curvature = current.costs * current.loss.curvature(slack)
        step, margin_step = solve_newton_system(problem, preconditioner, curvature, gradient)
        length = line_search(current, weights[live], step, slack, -current.signs * margin_step)
        weights[live] += length[:, None].to(step.dtype) * step
        margins[:, live] += length.to(margin_step.dtype) * margin_step
    return weights, rounding_error


def solve_newton_system(
    problem: Problem, preconditioner: Preconditioner, curvature: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor]:
    """Solve (1 + sum of curvature x x') step = -gradient by conjugate gradients.

    Parameters
    ----------
    problem, preconditioner
    curvature : (rows, classes)
    gradient : (classes, size)

    Returns
    -------
    step : (classes, size)
    margin_step : (rows, classes)
        The rows times the step.
    """
    precondition = preconditioner.for_curvature(curvature)
    step, margin_step = torch.zeros_like(gradient), torch.zeros_like(curvature)
    residual = -gradient
    conditioned = precondition(residual)
    direction = conditioned
    energy = _row_dot(residual, conditioned)
    target = CG_TOLERANCE**2 * energy
    for _ in range(MAX_CG_ITERATIONS):
        margins, image = problem.hessian_times(curvature, direction)
        image = image + direction
        length = energy / _row_dot(direction, image)
        # A class that has converged stays where it is while the others continue.
        length = torch.where(energy > target, length, 0)[:, None]
        step += length * direction
        margin_step += length.T * margins
        residual = residual - length * image
        conditioned = precondition(residual)
        new_energy = _row_dot(residual, conditioned)
        if not (new_energy > target).any():
            break
        momentum = torch.where(energy > target, new_energy / energy, 0)[:, None]
        direction = conditioned + momentum * direction
        energy = new_energy
    return step, margin_step


class Preconditioner:
    """Solves the Newton system as if all rows had the mean curvature, the same for each class.

    Factoring a matrix of the size of the unknowns takes longer than several passes over the rows,
    so a factor is kept until the mean curvature has changed by more than MAX_CURVATURE_RATIO. Its
    inverse is then wrong by no more than that factor in any direction.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.gram = problem.approximate_gram()
        self.factored_curvature = math.inf  # mean curvature of a row in `factor`
        self.factor = self.gram

    def for_curvature(self, curvature: Tensor) -> Callable[[Tensor], Tensor]:
        """Return a function from residuals (classes, size) to steps, for (rows, classes)."""
        context = self.problem.rows.context
        total = float(context.sum(curvature.sum(dtype=torch.float64)))
        mean = total / (self.problem.rows.total * curvature.shape[1])
        known = self.factored_curvature
        if not known / MAX_CURVATURE_RATIO <= mean <= known * MAX_CURVATURE_RATIO:
            matrix = self.gram * mean
            matrix.diagonal().add_(1 + ROUNDING * float(matrix.diagonal().max()))
            self.factored_curvature = mean
            self.factor = torch.linalg.cholesky(matrix, out=matrix)
        # Triangular solves may differ in the last bit between processes, which would then disagree
        # on when to stop.
        return lambda residual: context.broadcast(
            torch.cholesky_solve(residual.T, self.factor).T.contiguous()
        )


def line_search(
    objective: Objective, weights: Tensor, step: Tensor, slack: Tensor, slack_change: Tensor
) -> Tensor:
    """Return the lengths t (classes,) that minimize f(weights + t step).

    Newton steps on t are kept inside a bracket.

    Parameters
    ----------
    objective
    weights, step : (classes, size)
    slack, slack_change : (rows, classes)
        The slack at the weights and its change per unit of t.
    """
    costs, loss = objective.costs, objective.loss
    linear_term = (weights.double() * step.double()).sum(1)
    square_term = step.double().square().sum(1)
    length = torch.zeros_like(square_term)
    low, high = torch.zeros_like(length), torch.full_like(length, torch.inf)
    for _ in range(MAX_LINE_SEARCH_STEPS):
        slack_here = slack + length.to(slack.dtype) * slack_change
        slopes = costs * loss.slope(slack_here) * slack_change
        curvatures = costs * loss.curvature(slack_here) * slack_change.square()
        sums = torch.stack([slopes, curvatures]).sum(1, dtype=torch.float64)
        loss_slope, loss_curvature = objective.problem.rows.context.sum(sums)
        slope = linear_term + length * square_term + loss_slope
        change = -slope / (square_term + loss_curvature)
        if (change.abs() <= 1e-3 * length).all():
            break
        low, high = torch.where(slope < 0, length, low), torch.where(slope < 0, high, length)
        # Far from the margin the curvature is almost zero and Newton's step too long.
        longest = torch.minimum(high, 4 * low + 1)
        length = length + change
        outside = (length <= low) | (length >= longest)
        length = torch.where(outside, (low + longest) / 2, length)
    return length


def _row_dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(1)
