from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from pipelines.learned.early_stopping import EarlyStopping


def network(weight):
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, weight)
    return layer


def test_the_best_weights_are_kept_and_among_equals_the_latest():
    stopping = EarlyStopping(100)
    for updates, error in ((10, 50.0), (20, 30.0), (30, 30.0), (40, 31.0)):
        stopping.update(error, updates, network(updates))
    last = network(40)
    assert stopping.restore_best(last) == "weights of update 30, the best on tune"
    assert last.weight.item() == 30


def test_later_updates_do_not_change_the_kept_weights():
    stopping, trained = EarlyStopping(10), network(1)
    stopping.update(20.0, 1, trained)
    nn.init.constant_(trained.weight, 7)
    stopping.restore_best(trained)
    assert trained.weight.item() == 1


@pytest.mark.parametrize(("updates", "stops"), [(20, False), (69, False), (70, True)])
def test_training_stops_after_half_of_all_updates_without_a_lower_error(updates, stops):
    stopping = EarlyStopping(100)
    stopping.update(30.0, 20, network(0))
    assert stopping.should_stop(updates) == stops


def test_state_and_load_restore_it():
    stopping, other = EarlyStopping(100), EarlyStopping(100)
    stopping.update(12.5, 30, network(3))
    other.load({**stopping.state(), "network.weight": torch.zeros(1)})
    assert (other.best_error, other.best_update, other.best_weights["weight"].item()) == (
        12.5,
        30,
        3,
    )
    fresh = EarlyStopping(100)
    fresh.load(EarlyStopping(100).state())
    assert (fresh.best_error, fresh.best_weights) == (math.inf, {})
