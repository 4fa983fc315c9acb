from __future__ import annotations

import math

import pytest

from pipelines.learned.recipe import RECIPE_CAFFE, RECIPE_ONE_TOWER, cuda_convnet_recipe
from pipelines.learned.schedule import Cosine, OneCycle, Plateau, make_schedule


def test_plateau_divides_the_learning_rate_by_ten_three_times():
    schedule = Plateau(0.01, patience=2, max_drops=3)
    errors = [50, 40, 41, 40, 39, 39, 39, 39, 39, 39, 39, 39, 39]
    rates = []
    for error in errors:
        rates.append(schedule.lr(0))
        schedule.after_epoch(error)
    assert rates == pytest.approx([0.01] * 4 + [0.001] * 3 + [0.0001] * 2 + [0.00001] * 4)


def test_a_restored_plateau_continues():
    first, second = Plateau(0.01, patience=3, max_drops=3), Plateau(0.01, patience=3, max_drops=3)
    for error in (30, 31, 32):
        first.after_epoch(error)
    second.load(first.state())
    first.after_epoch(33)
    second.after_epoch(33)
    assert first.lr(0) == second.lr(0) == pytest.approx(0.001)


def test_one_cycle_rises_and_falls_in_straight_lines():
    schedule = OneCycle(0.5, updates=100, warm_up=0.2)
    assert schedule.lr(0) == pytest.approx(0.5 / 20)
    assert schedule.lr(9) == pytest.approx(0.25)
    assert max(schedule.lr(step) for step in range(100)) == pytest.approx(0.5)
    assert schedule.lr(60) == pytest.approx(0.25)
    assert 0 < schedule.lr(99) < 0.01


def test_one_cycle_of_a_single_update_has_a_learning_rate():
    assert OneCycle(0.5, updates=1, warm_up=0.2).lr(0) == pytest.approx(0.5)


def test_cosine_is_half_a_cosine():
    schedule = Cosine(0.5, updates=100)
    assert [schedule.lr(step) for step in (0, 25, 50)] == pytest.approx(
        [0.5, 0.25 + 0.125 * math.sqrt(2), 0.25]
    )
    assert 0 < schedule.lr(99) < 0.001


def learning_rates(recipe, epochs):
    """Return the learning rate in the middle of each of these epochs, of 10 updates each."""
    schedule = make_schedule(recipe, 10)
    return [schedule.lr(10 * epoch + 5) for epoch in epochs]


def test_step_schedules_are_those_of_the_files():
    assert learning_rates(cuda_convnet_recipe("80sec"), range(10)) == pytest.approx(
        [1e-3] * 8 + [1e-4] * 2
    )
    assert learning_rates(
        cuda_convnet_recipe("18pct"), (0, 119, 120, 129, 130, 139)
    ) == pytest.approx([1e-3] * 2 + [1e-4] * 2 + [1e-5] * 2)
    assert [cuda_convnet_recipe(layers).epochs for layers in ("80sec", "18pct", "11pct")] == [
        10,
        140,
        520,
    ]
    # dexp[base=0.01;tgtFactor=250;numSteps=4]
    assert learning_rates(RECIPE_ONE_TOWER, (0, 21, 23, 46, 68)) == pytest.approx(
        [0.01] * 2 + [0.01 / 250 ** (1 / 3), 0.01 / 250 ** (2 / 3), 0.01 / 250]
    )
    assert learning_rates(RECIPE_CAFFE, (0, 19, 20, 40, 60, 80)) == pytest.approx(
        [1e-2] * 2 + [1e-3, 1e-4, 1e-5, 1e-6]
    )
