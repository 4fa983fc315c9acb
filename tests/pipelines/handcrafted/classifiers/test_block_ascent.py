from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pipelines.handcrafted.classifiers.block_ascent import BlockProblem
from pipelines.handcrafted.classifiers.loss import Loss, class_signs, class_weights

CLASSES = 4


def make_problem(loss: Loss, positive_weight: float) -> tuple[BlockProblem, Tensor]:
    """Return the problem of 30 rows beside fixed weights, and feasible duals that are not best."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(30, 6, dtype=torch.float64, generator=generator)
    signs = class_signs(torch.arange(30) % CLASSES, CLASSES, torch.float64)
    costs = 0.2 * class_weights(signs, positive_weight)
    margins = torch.randn(30, CLASSES, dtype=torch.float64, generator=generator)
    duals = signs * 0.1 * torch.rand(30, CLASSES, dtype=torch.float64, generator=generator)
    return BlockProblem(rows @ rows.T, signs, costs, margins, loss), duals


def dual_objective(problem: BlockProblem, duals: Tensor, before: Tensor) -> Tensor:
    """Return the dual objective (classes,) of new duals, relative to that of the old ones."""
    change = duals - before
    moved = (problem.margins * change).sum(0) + (change * (problem.gram @ change)).sum(0) / 2
    losses = problem.ridge * (duals.square() - before.square()) / 2
    return (problem.signs * change - losses).sum(0) - moved


@pytest.mark.parametrize("loss", [Loss(), Loss(0.0)])
@pytest.mark.parametrize("positive_weight", [0.3, 1.0, 5.0])
def test_a_few_steps_reach_the_optimum_of_projected_gradient_ascent(
    loss: Loss, positive_weight: float
) -> None:
    problem, start = make_problem(loss, positive_weight)
    ours, best = start, start
    for _ in range(3):
        shifted = BlockProblem(
            problem.gram,
            problem.signs,
            problem.costs,
            problem.margins + problem.gram @ (ours - start),
            loss,
        )
        ours = shifted.solve(ours)
    rate = 1 / (torch.linalg.eigvalsh(problem.gram)[-1] + problem.ridge.max())
    for _ in range(5000):
        margins = problem.margins + problem.gram @ (best - start)
        best = best + rate * (problem.signs - margins - problem.ridge * best)
        lengths = (problem.signs * best).clamp(min=0)
        if loss.corner is not None:
            lengths = torch.minimum(lengths, problem.costs)
        best = problem.signs * lengths
    gained = dual_objective(problem, ours, start)
    assert (gained >= 0.98 * dual_objective(problem, best, start)).all()
    assert (problem.signs * ours >= 0).all()
    if loss.corner is not None:
        assert (ours.abs() <= problem.costs * (1 + 1e-12)).all()


@pytest.mark.parametrize("loss", [Loss(), Loss(0.0)])
def test_no_step_lowers_the_dual_objective(loss: Loss, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the iterations end in."""
    problem, start = make_problem(loss, 1.0)
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        feasible = problem.signs * 0.2 * torch.rand(start.shape, generator=generator)
        monkeypatch.setattr(BlockProblem, "_admm", lambda *_, end=feasible: end)
        gained = dual_objective(problem, problem.solve(start), start)
        assert (gained >= -1e-12).all()
