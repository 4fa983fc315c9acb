from __future__ import annotations

import math

import pytest

from pipelines.learned.recipe import (
    RECIPE_2012,
    RECIPE_CAFFE,
    RECIPE_ONE_TOWER,
    RecipeOverrides,
    apply_overrides,
    cuda_convnet_recipe,
    short_recipe,
)
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


def test_recipe_2012_is_that_of_the_paper():
    assert (
        RECIPE_2012.batch_size,
        RECIPE_2012.momentum,
        RECIPE_2012.weight_decay,
        RECIPE_2012.lr,
    ) == (128, 0.9, 0.0005, 0.01)
    assert (RECIPE_2012.epochs, RECIPE_2012.max_drops, RECIPE_2012.init, RECIPE_2012.post_2012) == (
        90,
        3,
        "published",
        (),
    )
    assert isinstance(make_schedule(RECIPE_2012, 10), Plateau)


def test_the_short_recipe_follows_from_the_number_of_images():
    assert isinstance(make_schedule(short_recipe(1000, 32), 10), OneCycle)
    assert (
        short_recipe(100_000, 32).epochs
        <= short_recipe(10_000, 32).epochs
        <= short_recipe(1_000, 32).epochs
    )
    assert (short_recipe(45_000, 32).epochs, short_recipe(1_167, 32).epochs) == (26, 65)
    assert short_recipe(45_000, 32).post_2012 == ("one-cycle schedule", "He init")


def test_overrides_are_listed_in_the_name():
    assert apply_overrides(RECIPE_2012, RecipeOverrides(), 1000) == RECIPE_2012
    assert apply_overrides(RECIPE_2012, RecipeOverrides(epochs=3), 1000).name == "2012"
    recipe = apply_overrides(
        RECIPE_2012, RecipeOverrides(epochs=3, schedule="cosine", lr=0.02), 1000
    )
    assert (recipe.epochs, recipe.lr, recipe.name) == (
        3,
        0.02,
        "2012 with schedule=cosine, lr=0.02",
    )
    assert recipe.post_2012 == ("cosine schedule",)


def test_adam_has_its_own_default_learning_rate():
    adam, adamw = (
        apply_overrides(RECIPE_2012, RecipeOverrides(optimizer="adam"), 1000),
        apply_overrides(RECIPE_2012, RecipeOverrides(optimizer="adamw", lr=0.1), 1000),
    )
    assert (adam.lr, adam.weight_decay, adam.post_2012) == (0.001, 0.0005, ("Adam",))
    assert (adamw.lr, adamw.weight_decay, adamw.post_2012) == (0.1, 0.01, ("AdamW",))
