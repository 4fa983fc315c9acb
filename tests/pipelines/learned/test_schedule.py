from __future__ import annotations

import math

import pytest

from pipelines.learned.recipe import (
    RECIPE_2012,
    RECIPE_CAFFE,
    RECIPE_ONE_TOWER,
    Changes,
    changed,
    cuda_convnet,
    short,
)
from pipelines.learned.schedule import Cosine, OneCycle, Plateau, make_schedule


def test_plateau_divides_by_ten_three_times():
    schedule = Plateau(0.01, patience=2, drops=3)
    errors = [50, 40, 41, 40, 39, 39, 39, 39, 39, 39, 39, 39, 39]
    rates = []
    for error in errors:
        rates.append(schedule.rate(0))
        schedule.after_epoch(error)
    assert rates == pytest.approx([0.01] * 4 + [0.001] * 3 + [0.0001] * 2 + [0.00001] * 4)


def test_plateau_goes_on_from_its_state():
    first, second = Plateau(0.01, patience=3, drops=3), Plateau(0.01, patience=3, drops=3)
    for error in (30, 31, 32):
        first.after_epoch(error)
    second.load(first.state())
    first.after_epoch(33)
    second.after_epoch(33)
    assert first.rate(0) == second.rate(0) == pytest.approx(0.001)


def test_one_cycle_rises_and_falls_in_straight_lines():
    schedule = OneCycle(0.5, steps=100, warm_up=0.2)
    assert schedule.rate(0) == pytest.approx(0.5 / 20)
    assert schedule.rate(9) == pytest.approx(0.25)
    assert max(schedule.rate(step) for step in range(100)) == pytest.approx(0.5)
    assert schedule.rate(60) == pytest.approx(0.25)
    assert 0 < schedule.rate(99) < 0.01


def test_one_step_has_a_rate():
    assert OneCycle(0.5, steps=1, warm_up=0.2).rate(0) == pytest.approx(0.5)


def test_cosine():
    schedule = Cosine(0.5, steps=100)
    assert [schedule.rate(step) for step in (0, 25, 50)] == pytest.approx(
        [0.5, 0.25 + 0.125 * math.sqrt(2), 0.25]
    )
    assert 0 < schedule.rate(99) < 0.001


def rates(recipe, epochs):
    """The rate in the middle of each of these epochs, of 10 updates each."""
    schedule = make_schedule(recipe, 10)
    return [schedule.rate(10 * epoch + 5) for epoch in epochs]


def test_step_schedules_of_the_files():
    assert rates(cuda_convnet("80sec"), range(10)) == pytest.approx([1e-3] * 8 + [1e-4] * 2)
    assert rates(cuda_convnet("18pct"), (0, 119, 120, 129, 130, 139)) == pytest.approx(
        [1e-3] * 2 + [1e-4] * 2 + [1e-5] * 2
    )
    assert [cuda_convnet(layers).epochs for layers in ("80sec", "18pct", "11pct")] == [10, 140, 520]
    # dexp[base=0.01;tgtFactor=250;numSteps=4]
    assert rates(RECIPE_ONE_TOWER, (0, 21, 23, 46, 68)) == pytest.approx(
        [0.01] * 2 + [0.01 / 250 ** (1 / 3), 0.01 / 250 ** (2 / 3), 0.01 / 250]
    )
    assert rates(RECIPE_CAFFE, (0, 19, 20, 40, 60, 80)) == pytest.approx(
        [1e-2] * 2 + [1e-3, 1e-4, 1e-5, 1e-6]
    )


def test_recipe_2012_is_the_paper():
    assert (
        RECIPE_2012.batch,
        RECIPE_2012.momentum,
        RECIPE_2012.weight_decay,
        RECIPE_2012.rate,
    ) == (128, 0.9, 0.0005, 0.01)
    assert (RECIPE_2012.epochs, RECIPE_2012.drops, RECIPE_2012.init, RECIPE_2012.later) == (
        90,
        3,
        "published",
        (),
    )
    assert isinstance(make_schedule(RECIPE_2012, 10), Plateau)


def test_short_recipe_follows_from_the_number_of_images():
    assert isinstance(make_schedule(short(1000, 32), 10), OneCycle)
    assert short(100_000, 32).epochs <= short(10_000, 32).epochs <= short(1_000, 32).epochs
    assert (short(45_000, 32).epochs, short(1_167, 32).epochs) == (26, 65)
    assert short(45_000, 32).later == ("one-cycle schedule", "He init")


def test_changes_are_told_in_the_name():
    assert changed(RECIPE_2012, Changes(), 1000) == RECIPE_2012
    assert changed(RECIPE_2012, Changes(epochs=3), 1000).name == "2012"
    recipe = changed(RECIPE_2012, Changes(epochs=3, schedule="cosine", rate=0.02), 1000)
    assert (recipe.epochs, recipe.rate, recipe.name) == (
        3,
        0.02,
        "2012 with schedule=cosine, rate=0.02",
    )
    assert recipe.later == ("cosine schedule",)


def test_adam_brings_its_own_rate():
    adam, adamw = (
        changed(RECIPE_2012, Changes(optimizer="adam"), 1000),
        changed(RECIPE_2012, Changes(optimizer="adamw", rate=0.1), 1000),
    )
    assert (adam.rate, adam.weight_decay, adam.later) == (0.001, 0.0005, ("Adam",))
    assert (adamw.rate, adamw.weight_decay, adamw.later) == (0.1, 0.01, ("AdamW",))
