from __future__ import annotations

import torch

from harness.engine.context import RunContext
from pipelines.handcrafted.tuning import ValueSearch, closest_to_default, misclassified


def test_another_value_than_the_default_is_chosen_only_if_clearly_better() -> None:
    errors = torch.zeros(3, 100, dtype=torch.bool)
    errors[0, :20], errors[1, :22], errors[2, :40] = True, True, True
    # Two more errors, of two discordant ones, exceed the standard error of sqrt(2). The worst
    # value has twenty more, of twenty.
    assert closest_to_default(errors, (0.1, 1.0, 10.0), 1.0, RunContext()) == 0
    errors[1, :3] = False  # now it is correct three times where the first is not
    errors[1, 22:25] = True
    assert closest_to_default(errors, (0.1, 1.0, 10.0), 1.0, RunContext()) == 1


def search(*error_counts: int) -> tuple[float, list[float], RunContext]:
    """Return the chosen value, the values tried and the context, for errors in 100 images."""
    tried: list[float] = []

    def errors_at(value: float) -> torch.Tensor:
        tried.append(value)
        return torch.arange(100) < error_counts[len(tried) - 1]

    context = RunContext()
    grid = ValueSearch("c", (0.1, 1.0, 10.0, 100.0, 1000.0), 10.0)
    return grid.choose(errors_at, 100, context), tried, context


def test_large_values_are_tried_only_while_they_may_help() -> None:
    assert search(20, 30, 40, 10, 10)[:2] == (0.1, [0.1, 1.0, 10.0])
    assert search(50, 40, 45, 30, 31)[:2] == (100.0, [0.1, 1.0, 10.0, 100.0, 1000.0])
    assert search(20, 21, 30, 40, 10)[:2] == (1.0, [0.1, 1.0, 10.0, 100.0])


def test_values_and_error_percentages_are_logged_as_curves() -> None:
    context = search(20, 30, 40)[2]
    assert [value for _, value in context.curves["val/c"]] == [0.1, 1.0, 10.0]
    assert [value for _, value in context.curves["val/top1_error"]] == [20.0, 30.0, 40.0]


def test_ties_count_as_errors() -> None:
    scores = torch.tensor([[1.0, 1.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert misclassified(scores, torch.tensor([0, 0, 0])).tolist() == [True, False, True]
