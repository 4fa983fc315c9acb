from __future__ import annotations

import math

import numpy as np
import pytest

from pipelines.learned.recipe import (
    RECIPE_2012,
    RECIPE_CAFFE,
    RECIPE_CODE,
    RECIPE_ONE_TOWER,
    cuda_convnet_recipe,
)
from pipelines.learned.schedule import (
    Cosine,
    OneCycle,
    Plateau,
    make_schedule,
    plateau_window,
)


def drop_epochs(schedule, errors):
    """Return the epochs, counted from 1, after which the learning rate fell by a factor of 10."""
    epochs, lr = [], schedule.lr(0)
    for epoch, error in enumerate(errors, 1):
        schedule.after_epoch(error)
        if schedule.lr(0) < lr:
            assert schedule.lr(0) == pytest.approx(lr / 10)
            epochs.append(epoch)
            lr = schedule.lr(0)
    return epochs


def test_plateau_divides_the_learning_rate_by_ten_three_times():
    schedule = Plateau(0.01, window=2, max_drops=3, n_tune=10**6)
    # The means of two epochs fall from 45 to 40.5 and stay there in the fifth epoch.
    errors = [50, 40, 41, 40, 41, *[39] * 11]
    assert drop_epochs(schedule, errors) == [5, 9, 13]
    assert schedule.lr(0) == pytest.approx(0.00001)


def test_a_plateau_is_a_fall_of_at_most_one_standard_error():
    # 100 sqrt(2 * 0.5 * 0.5 / (2 * 100)) = 5 percent for errors around 50 % on 100 images.
    for fall, expected in ((4.9, [4]), (5.1, [])):
        errors = [50 + fall / 2] * 2 + [50 - fall / 2] * 2
        assert drop_epochs(Plateau(0.01, window=2, max_drops=3, n_tune=100), errors) == expected


def test_an_error_of_zero_is_a_plateau():
    assert drop_epochs(Plateau(0.01, window=2, max_drops=1, n_tune=100), [0.0] * 4) == [4]


EPOCHS = np.arange(1, 91)
FALLING = {
    "power": 90 * EPOCHS**-0.35,
    "exponential": 20 + 65 * np.exp(-EPOCHS / 30),
    "straight": 85 - 60 * EPOCHS / 90,
}


def simulated_drops(error, *, n_tune, updates_per_epoch, runs=40):
    """Return the epochs of the drops in runs in which n_tune images show a true error."""
    generator = np.random.default_rng(0)
    drops = []
    for _ in range(runs):
        schedule = make_schedule(RECIPE_2012, updates_per_epoch, n_tune)
        seen = 100 * generator.binomial(n_tune, error / 100) / n_tune
        drops.append(drop_epochs(schedule, seen.tolist()))
    return drops


@pytest.mark.parametrize("error", FALLING.values(), ids=FALLING)
@pytest.mark.parametrize(("updates_per_epoch", "n_tune"), [(73, 130), (66, 947)])
def test_the_noise_of_a_small_tune_split_is_no_plateau(error, updates_per_epoch, n_tune):
    drops = simulated_drops(error, n_tune=n_tune, updates_per_epoch=updates_per_epoch)
    assert sum(any(epoch < 60 for epoch in epochs) for epochs in drops) <= 1
    assert np.mean([len(epochs) for epochs in drops]) < 0.8


@pytest.mark.parametrize(
    ("updates_per_epoch", "n_tune", "window"),
    [(10_009, 50_000, 4), (351, 5_000, 4), (66, 947, 12), (73, 130, 21)],
)
def test_windows_are_longer_where_epochs_are_short_and_tune_images_few(
    updates_per_epoch, n_tune, window
):
    assert plateau_window(RECIPE_2012, updates_per_epoch, n_tune) == window


@pytest.mark.parametrize("n_tune", [130, 1000])
def test_a_true_plateau_is_found_on_a_small_tune_split(n_tune):
    flat = np.where(EPOCHS < 20, 80 - 2 * EPOCHS, 40.0)
    drops = simulated_drops(flat, n_tune=n_tune, updates_per_epoch=73)
    assert all(epochs and 30 < epochs[0] < 85 for epochs in drops)
    assert np.median([epochs[0] for epochs in drops]) < 60


def test_on_ilsvrc_a_plateau_is_found_within_few_epochs():
    """A wait of four epochs without a lower error ends the phase at epoch 26 in the median."""
    flat = np.where(EPOCHS < 20, 80 - 2 * EPOCHS, 40.0)
    drops = simulated_drops(flat, n_tune=50_000, updates_per_epoch=10_009)
    assert all(len(epochs) == 3 and 24 <= epochs[0] <= 40 for epochs in drops)
    assert np.median([epochs[0] for epochs in drops]) <= 28
    falling = simulated_drops(FALLING["power"], n_tune=50_000, updates_per_epoch=10_009)
    assert all(epochs[:1] >= [40] for epochs in falling if epochs)


def test_a_restored_plateau_continues():
    first, second = (Plateau(0.01, window=2, max_drops=3, n_tune=100) for _ in range(2))
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
    schedule = make_schedule(recipe, 10, 100)
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
    # layer-params-145.cfg: "epoch 25: set epsw to 0.001 from 0.01", 51: to 0.0001, 79: to 0.00001
    assert learning_rates(RECIPE_CODE, (0, 24, 25, 50, 51, 78, 79, 89)) == pytest.approx(
        [1e-2] * 2 + [1e-3] * 2 + [1e-4] * 2 + [1e-5] * 2
    )
    assert learning_rates(RECIPE_CAFFE, (0, 19, 20, 40, 60, 80)) == pytest.approx(
        [1e-2] * 2 + [1e-3, 1e-4, 1e-5, 1e-6]
    )
