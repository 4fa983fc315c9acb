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


def test_the_best_weights_are_kept_and_of_equals_the_latest():
    stopping = EarlyStopping(100)
    for updates, error in ((10, 50.0), (20, 30.0), (30, 30.0), (40, 31.0)):
        stopping.see(error, updates, network(updates))
    last = network(40)
    assert stopping.take_best(last) == "weights of update 30, the best on tune"
    assert last.weight.item() == 30


def test_later_steps_do_not_reach_the_kept_weights():
    stopping, moving = EarlyStopping(10), network(1)
    stopping.see(20.0, 1, moving)
    nn.init.constant_(moving.weight, 7)
    stopping.take_best(moving)
    assert moving.weight.item() == 1


@pytest.mark.parametrize(("updates", "hopeless"), [(20, False), (69, False), (70, True)])
def test_hopeless_after_half_of_all_updates_without_a_lower_error(updates, hopeless):
    stopping = EarlyStopping(100)
    stopping.see(30.0, 20, network(0))
    assert stopping.hopeless(updates) == hopeless


def test_state_restores_it():
    stopping, other = EarlyStopping(100), EarlyStopping(100)
    stopping.see(12.5, 30, network(3))
    other.load({**stopping.state(), "network.weight": torch.zeros(1)})
    assert (other.error, other.updates, other.weights["weight"].item()) == (12.5, 30, 3)
    untouched = EarlyStopping(100)
    untouched.load(EarlyStopping(100).state())
    assert (untouched.error, untouched.weights) == (math.inf, {})
