from __future__ import annotations

import pytest
import torch

from harness.contract import State
from harness.engine.context import RunContext
from pipelines.handcrafted.classifiers.learners import (
    STANDARDIZED_GRID,
    UNIT_LENGTH_GRID,
    AveragedPassiveAggressive,
    AveragedSGD,
    CGrid,
    ExactSVM,
    Learner,
    StreamedSVM,
)

LEARNERS = [ExactSVM(), StreamedSVM(), AveragedSGD(), AveragedPassiveAggressive()]


@pytest.mark.parametrize("learner", LEARNERS)
def test_the_default_c_is_one_of_increasing_candidates(learner: Learner) -> None:
    grid = learner.c_grid
    assert list(grid.values) == sorted(grid.values)
    assert grid.default in grid.values


def test_the_grid_of_an_exact_svm_follows_from_the_scale_of_its_rows() -> None:
    assert ExactSVM(standardize=True).c_grid == STANDARDIZED_GRID
    assert ExactSVM().c_grid == UNIT_LENGTH_GRID
    custom = CGrid((1.0, 2.0), 1.0)
    assert ExactSVM(standardize=True, custom_grid=custom).c_grid == custom


def chunks() -> list[State]:
    rows = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    labels = (rows[:, 0] > 0).long()
    return [
        {"features": features, "labels": classes}
        for features, classes in zip(rows.split(15), labels.split(15), strict=True)
    ]


@pytest.mark.parametrize("standardize", [False, True])
def test_an_exact_svm_fits_the_chunks_of_all_splits(standardize: bool) -> None:
    learner = ExactSVM(standardize=standardize)
    weights, biases = learner.make_solver([chunks()[:2], chunks()[2:]], 2, RunContext()).fit(1.0)
    together = learner.make_solver([chunks()], 2, RunContext()).fit(1.0)
    torch.testing.assert_close((weights, biases), together)
    rows = torch.cat([chunk["features"] for chunk in chunks()])
    labels = torch.cat([chunk["labels"] for chunk in chunks()])
    assert ((rows @ weights.T + biases).argmax(1) == labels).float().mean() > 0.9


def test_standardizing_makes_the_fit_independent_of_the_unit_of_a_feature() -> None:
    scaled = [
        {**chunk, "features": chunk["features"] * torch.tensor([1.0, 100.0, 0.01])}
        for chunk in chunks()
    ]
    learner = ExactSVM(standardize=True)
    plain, other = (
        learner.make_solver([split], 2, RunContext()).fit(1.0) for split in (chunks(), scaled)
    )
    torch.testing.assert_close(
        other[0] * torch.tensor([1.0, 100.0, 0.01]), plain[0], rtol=0.02, atol=0.02
    )
