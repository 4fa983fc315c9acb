from __future__ import annotations

import pytest

from pipelines.learned.recipe import RECIPE_2012, short, with_epochs
from pipelines.learned.schedule import OneCycle, Plateau, make_schedule


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


def test_recipe_2012_is_the_paper():
    assert (RECIPE_2012.batch, RECIPE_2012.momentum, RECIPE_2012.weight_decay, RECIPE_2012.rate) == (128, 0.9, 0.0005, 0.01)
    assert (RECIPE_2012.epochs, RECIPE_2012.drops, RECIPE_2012.init, RECIPE_2012.later) == (90, 3, "2012", ())
    assert isinstance(make_schedule(RECIPE_2012, 10), Plateau)


def test_short_recipe_follows_from_the_number_of_images():
    assert isinstance(make_schedule(short(1000, 32), 10), OneCycle)
    assert short(100_000, 32).epochs <= short(10_000, 32).epochs <= short(1_000, 32).epochs
    assert with_epochs(short(1000, 32), 3).epochs == 3
    assert (short(45_000, 32).epochs, short(1_167, 32).epochs) == (26, 65)
