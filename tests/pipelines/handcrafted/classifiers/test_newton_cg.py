from __future__ import annotations

import pytest
import torch

from harness.engine.context import RunContext
from pipelines.handcrafted.classifiers.feature_rows import FeatureRows
from pipelines.handcrafted.classifiers.linear_svm import Dual, Primal
from pipelines.handcrafted.classifiers.loss import Loss, class_signs
from pipelines.handcrafted.classifiers.newton_cg import (
    DUALITY_GAP,
    Objective,
    Preconditioner,
    Problem,
    line_search,
    minimize,
    solve_newton_system,
)

CLASSES = 3


@pytest.fixture(params=["primal", "dual"])
def problem(request: pytest.FixtureRequest) -> Problem:
    """40 rows of 6 features in either form."""
    features = torch.randn(40, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows = FeatureRows([features], RunContext())
    return Primal(rows) if request.param == "primal" else Dual(rows)


@pytest.fixture
def objective(problem: Problem) -> Objective:
    labels = torch.randint(CLASSES, (40,), generator=torch.Generator().manual_seed(1))
    signs = class_signs(labels, CLASSES, torch.float64)
    return Objective(problem, signs, torch.full_like(signs, 0.3), Loss())


def random_like(problem: Problem) -> torch.Tensor:
    """(CLASSES, size) in the span of the rows."""
    coefficients = torch.randn(40, CLASSES, dtype=torch.float64)
    return problem.transposed_times(coefficients) / 40


def value(objective: Objective, weights: torch.Tensor) -> torch.Tensor:
    slack = 1 - objective.signs * objective.problem.times(weights)
    return objective.value(weights, slack)[0]


def test_the_gradient_is_the_derivative_of_the_objective(objective: Objective) -> None:
    weights = random_like(objective.problem).requires_grad_()
    (expected,) = torch.autograd.grad(value(objective, weights).sum(), weights)
    slack = 1 - objective.signs * objective.problem.times(weights)
    torch.testing.assert_close(objective.gradient(weights, slack), expected)


def test_the_minimum_has_a_small_duality_gap_and_is_not_improved_nearby(
    objective: Objective,
) -> None:
    start = torch.zeros(CLASSES, objective.problem.size, dtype=torch.float64)
    solution, rounding_error = minimize(objective, Preconditioner(objective.problem), start)
    minimum = value(objective, solution)
    slack = 1 - objective.signs * objective.problem.times(solution)
    gap = objective.gradient(solution, slack).square().sum(1) / 2
    assert (gap <= DUALITY_GAP * minimum).all()
    assert not rounding_error.any()
    for _ in range(5):
        nearby = value(objective, solution + 0.1 * random_like(objective.problem))
        assert (nearby >= minimum * (1 - DUALITY_GAP)).all()


def test_a_newton_step_solves_the_dense_system(objective: Objective) -> None:
    problem = objective.problem
    curvature = torch.rand(40, CLASSES, dtype=torch.float64) + 0.5
    gradient = random_like(problem)
    step, margin_step = solve_newton_system(problem, Preconditioner(problem), curvature, gradient)
    torch.testing.assert_close(margin_step, problem.times(step))
    image = step + problem.transposed_times(curvature * problem.times(step))
    assert ((image + gradient).norm(dim=1) <= 0.2 * gradient.norm(dim=1)).all()


def test_a_line_search_finds_the_lowest_value_along_the_step(objective: Objective) -> None:
    weights = random_like(objective.problem)
    slack = 1 - objective.signs * objective.problem.times(weights)
    step = -objective.gradient(weights, slack)
    change = -objective.signs * objective.problem.times(step)
    length = line_search(objective, weights, step, slack, change)
    lowest = value(objective, weights + length[:, None] * step)
    for factor in (0.9, 1.1):
        assert (value(objective, weights + factor * length[:, None] * step) > lowest).all()
