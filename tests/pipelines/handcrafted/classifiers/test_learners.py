from __future__ import annotations

import pytest
import torch

from harness.contract import State
from harness.engine.context import RunContext
from pipelines.handcrafted.classifiers.capacity import FitSize, exact_memory_bytes
from pipelines.handcrafted.classifiers.learners import (
    STANDARDIZED_GRID,
    SVM,
    UNIT_LENGTH_GRID,
    AveragedPassiveAggressive,
    AveragedSGD,
    CGrid,
    ExactSVM,
    LearnerChoice,
    StreamedSVM,
)

LEARNERS = [SVM(), ExactSVM(), StreamedSVM(), AveragedSGD(), AveragedPassiveAggressive()]


@pytest.mark.parametrize("learner", LEARNERS)
def test_the_default_c_is_one_of_increasing_candidates(learner: LearnerChoice) -> None:
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


class ContextWithMemory(RunContext):
    def __init__(self, free_bytes: int) -> None:
        super().__init__()
        self.free_bytes = free_bytes

    def free_memory(self) -> int:
        return self.free_bytes


ILSVRC = FitSize(2_562_334, 1000, 5292)


def test_auto_is_exact_exactly_where_it_takes_at_most_half_of_the_free_memory() -> None:
    needed = exact_memory_bytes(ILSVRC)
    enough, too_little = ContextWithMemory(2 * needed), ContextWithMemory(2 * needed - 1)
    settings = SVM(standardize=True, custom_grid=CGrid((1.0,), 1.0), loss="hinge")
    exact, streamed = (settings.for_size(ILSVRC, context) for context in (enough, too_little))
    assert exact == ExactSVM(standardize=True, custom_grid=CGrid((1.0,), 1.0), loss="hinge")
    assert streamed == StreamedSVM(standardize=True, custom_grid=CGrid((1.0,), 1.0), loss="hinge")
    assert not enough.notes
    (note,) = too_little.notes
    assert note.startswith(f"streamed SVM: the exact one needs {needed / 1e9:.1f} GB")


def test_a_solver_that_was_asked_for_is_taken_whatever_the_memory() -> None:
    nothing, plenty = ContextWithMemory(0), ContextWithMemory(10**15)
    assert isinstance(SVM(solver="exact").for_size(ILSVRC, nothing), ExactSVM)
    assert isinstance(SVM(solver="streamed").for_size(ILSVRC, plenty), StreamedSVM)
    assert not nothing.notes
    assert not plenty.notes


def test_streamed_features_are_kept_in_half_precision_unless_they_are_bytes() -> None:
    assert StreamedSVM().half
    assert not StreamedSVM(quantize=True).half
