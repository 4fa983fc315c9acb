"""One-vs-rest linear support vector machines, all classes at once: the exact solver for rows that fit in memory.

For each class it minimises what LIBLINEAR does (Fan et al., JMLR 2008), with labels y of +1 or -1,

    f(w) = 1/2 w.w + C sum_i max(0, 1 - y_i w.x_i)^2

by Newton's method (Keerthi & DeCoste, JMLR 2005): the Hessian is that of the rows inside the margin, its system is solved by
conjugate gradients, and the step's length is exact. Each class has its own rows inside the margin and its own step, but all share
every pass over the rows; a class that is done drops out.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from pipelines.handcrafted.classifiers.rows import Rows

GAP = 1e-3  # relative duality gap at which a class is done: f is then at most so much above its minimum
MAX_STEPS = 60  # Newton steps; 5 to 15 are usual
MAX_PRODUCTS = 40  # Hessian products a step
RESIDUAL = 0.1  # of the gradient's length, left over when a step's system counts as solved
LINE_STEPS = 20


class LinearSVM:
    """The solver for one set of rows and labels; `fit` may be called for one C after the other and starts from the last solution.

    rows     this process's share
    labels   (rows,) int64 in [0, classes)
    """

    def __init__(self, rows: Rows, labels: Tensor, classes: int) -> None:
        self.rows = rows
        counts = torch.bincount(labels, minlength=classes).to(torch.float64)
        self.present = rows.context.sum(counts) > 0
        self.signs = torch.full((len(labels), classes), -1.0, device=labels.device)
        self.signs.scatter_(1, labels[:, None], 1.0)
        self.problem: Problem = Primal(rows) if rows.total > rows.features else Dual(rows)
        self.solution = torch.zeros(classes, self.problem.size, device=labels.device)

    def fit(self, c: float) -> tuple[Tensor, Tensor]:
        """(classes, features) weights and (classes,) biases for plain features: margins = features @ weights.T + biases."""
        self.solution = minimise(self.problem, self.signs, c, self.solution)
        return self.rows.fold(self.problem.weights(self.solution))


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

    def precondition(self, residual: Tensor, weight: Tensor) -> Tensor:
        """About (1 + weight * sum of x x')^-1 residual: (classes, size) and (classes, 1)."""
        ...

    def weights(self, solution: Tensor) -> Tensor:
        """(classes, size) to (classes, features + 1)."""
        ...


class Primal:
    """More rows than features: one weight a feature. Preconditioned along the principal axes of a sample of the rows."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.size = rows.features + 1
        self.times = rows.times
        self.transposed_times = rows.transposed_times
        context = rows.context
        sample = rows.sample(4 * self.size // context.world)
        count = context.sum(torch.tensor(float(len(sample)), device=rows.device))
        covariance = context.sum(sample.T @ sample) / count
        values, self.axes = torch.linalg.eigh(covariance)
        self.squares = values.clamp_min(0) * rows.total
        context.broadcast(self.squares)
        context.broadcast(self.axes)

    def precondition(self, residual: Tensor, weight: Tensor) -> Tensor:
        return ((residual @ self.axes) / (1 + weight * self.squares)) @ self.axes.T

    def weights(self, solution: Tensor) -> Tensor:
        return solution


class Dual:
    """No more rows than features: the weights lie in the span of the rows, so one coordinate a principal axis of their Gram matrix."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.size = rows.total
        values, axes = torch.linalg.eigh(rows.gram())
        context = rows.context
        context.broadcast(values)
        context.broadcast(axes)
        kept = values > values[-1] * 1e-7  # what is less is rounding of the float32 products
        lengths = torch.where(kept, values, 0).sqrt()
        start, end = rows.span()
        self.squares = lengths.square().float()
        self.coordinates = (axes[start:end] * lengths).float()
        self.unit_axes = (axes[start:end] * torch.where(kept, 1 / lengths, 0)).float()

    def times(self, weights: Tensor) -> Tensor:
        return self.coordinates @ weights.T

    def transposed_times(self, coefficients: Tensor) -> Tensor:
        return self.rows.context.sum(coefficients.T @ self.coordinates)

    def precondition(self, residual: Tensor, weight: Tensor) -> Tensor:
        return residual / (1 + weight * self.squares)

    def weights(self, solution: Tensor) -> Tensor:
        return self.rows.transposed_times(self.unit_axes @ solution.T)


def minimise(problem: Problem, signs: Tensor, c: float, start: Tensor) -> Tensor:
    """The minimum for each class: signs (rows, classes), start and result (classes, size)."""
    total = problem.rows.context.sum
    weights = start.clone()
    margins = problem.times(weights)
    live = torch.arange(len(weights), device=weights.device)  # the classes not yet done
    for _ in range(MAX_STEPS):
        slack = (1 - signs[:, live] * margins[:, live]).clamp_(min=0)
        gradient = weights[live] - 2 * c * problem.transposed_times(signs[:, live] * slack)
        loss = total(slack.square().sum(0, dtype=torch.float64))
        objective = weights[live].double().square().sum(1) / 2 + c * loss
        # With the dual variables 2 C slack the duality gap is half the gradient's squared length.
        open_ = gradient.double().square().sum(1) / 2 > GAP * objective
        if not open_.any():
            break
        live, slack, gradient = live[open_], slack[:, open_], gradient[open_]
        inside = (slack > 0).to(slack.dtype)
        step, along = solve_newton_system(problem, inside, c, gradient)
        length = line_minimum(problem, weights[live], step, signs[:, live] * margins[:, live], signs[:, live] * along, c)
        weights[live] += length[:, None] * step
        margins[:, live] += length * along
    return weights


def solve_newton_system(problem: Problem, inside: Tensor, c: float, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Conjugate gradients on (1 + 2 C sum of x x' inside the margin) step = -gradient; also returns the rows times the step.

    inside (rows, classes) of 0 and 1; gradient and step (classes, size).
    """
    share = problem.rows.context.sum(inside.sum(0, dtype=torch.float64)) / problem.rows.total
    weight = (2 * c * share)[:, None].to(gradient.dtype)
    step, along = torch.zeros_like(gradient), torch.zeros_like(inside)
    residual = -gradient
    conditioned = problem.precondition(residual, weight)
    direction = conditioned
    energy = _dot(residual, conditioned)
    goal = RESIDUAL**2 * energy
    for _ in range(MAX_PRODUCTS):
        products = problem.times(direction)
        image = direction + 2 * c * problem.transposed_times(inside * products)
        size = energy / _dot(direction, image)
        # A class that has arrived stands still while the others go on.
        size = torch.where(energy > goal, size, 0)[:, None]
        step += size * direction
        along += size.T * products
        residual = residual - size * image
        conditioned = problem.precondition(residual, weight)
        new_energy = _dot(residual, conditioned)
        if not (new_energy > goal).any():
            break
        direction = conditioned + torch.where(energy > goal, new_energy / energy, 0)[:, None] * direction
        energy = new_energy
    return step, along


def line_minimum(problem: Problem, weights: Tensor, step: Tensor, margins: Tensor, along: Tensor, c: float) -> Tensor:
    """(classes,) lengths t that minimise f(weights + t step), by Newton steps kept inside a bracket.

    margins and along are the rows' signed margins at the weights and their change a unit of t: (rows, classes).
    """
    linear_term = (weights.double() * step.double()).sum(1)
    square_term = step.double().square().sum(1)
    length = torch.ones_like(square_term)
    low, high = torch.zeros_like(length), torch.full_like(length, torch.inf)
    for _ in range(LINE_STEPS):
        slack = (1 - margins - length.to(margins.dtype) * along).clamp_(min=0)
        sums = torch.stack(
            [
                (slack * along).sum(0, dtype=torch.float64),
                (along.square() * (slack > 0)).sum(0, dtype=torch.float64),
            ]
        )
        first, second = problem.rows.context.sum(sums)
        slope = linear_term + length * square_term - 2 * c * first
        curvature = square_term + 2 * c * second
        change = -slope / curvature
        if (change.abs() <= 1e-3 * length).all():
            break
        low, high = torch.where(slope < 0, length, low), torch.where(slope < 0, high, length)
        length = length + change
        outside = (length <= low) | (length >= high)
        length = torch.where(outside, (low + high.clamp_max(1e6)) / 2, length)
    return length


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(1)
