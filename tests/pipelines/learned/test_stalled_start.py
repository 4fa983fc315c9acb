"""Networks that do not start to learn are recognized, whatever the frequencies of the classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harness.contract import Split
from harness.engine.context import RunContext
from pipelines.alexnet import build
from pipelines.learned.networks.network import Network
from pipelines.learned.stalled_start import StalledStart
from tests.pipelines.learned.synthetic_splits import striped_split
from tests.pipelines.learned.test_trainer import change_short_recipe, fit


def test_the_entropy_is_that_of_the_labels():
    assert StalledStart(np.arange(100) % 10).entropy == pytest.approx(math.log(10))
    assert StalledStart(np.array([0] * 3 + [7])).entropy == pytest.approx(
        -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    )


def test_epochs_of_guesses_count_from_the_due_update_on():
    stalled_start = StalledStart(np.arange(100) % 10)
    losses = {100: 2.31, 500: 2.30, 900: 1.9}
    assert [stalled_start.check_epoch(loss, n) for n, loss in losses.items()] == [True, True, False]
    assert stalled_start.note == "stalled start: loss of guesses for 1 epochs"
    assert StalledStart(np.arange(100) % 10).note is None


def test_a_stalled_start_is_noted(monkeypatch, caplog):
    change_short_recipe(monkeypatch, lr=1e-9)
    monkeypatch.setattr("pipelines.learned.stalled_start.STALL_UPDATES", 4)
    context = RunContext()
    fit(context, epochs=2)
    assert context.notes[-1].startswith("stalled start")
    assert "each class is, 1.098" in caplog.text  # about ln(3)
    assert len(caplog.records) == 1


def rare_class_split(n):
    """Return `striped_split` with one image in 16 of the second class and none of the third."""
    train = striped_split(24 * n)
    often, rare = (np.flatnonzero(train.labels == label) for label in (0, 1))
    return train.take(np.concatenate([often[: 15 * n // 16], rare[: n // 16]]))


def test_a_dead_network_on_imbalanced_classes_is_noted(monkeypatch, caplog):
    """Its biases say how frequent the classes are, with a loss far below ln(3)."""
    change_short_recipe(monkeypatch, lr=1e-9)
    monkeypatch.setattr("pipelines.learned.stalled_start.STALL_UPDATES", 4)
    initialize = Network.initialize

    def initialize_with_frequencies(network, *arguments):
        initialize(network, *arguments)
        network.fc8.weight.data.zero_()
        network.fc8.bias.data = torch.tensor([15 / 16, 1 / 16, 1e-9]).log()

    monkeypatch.setattr(Network, "initialize", initialize_with_frequencies)
    context = RunContext()
    build(epochs=1, flip=True).fit(rare_class_split(64), None, context)
    assert context.curves["train/loss"][-1][1] < 0.5 * math.log(3)
    assert context.notes[-1].startswith("stalled start")
    assert "no better than guesses" in caplog.text


def test_a_plateau_does_not_lower_the_learning_rate_while_the_network_guesses(monkeypatch):
    """With few images a slow start takes many epochs of equal tune errors."""
    change_short_recipe(monkeypatch, lr=1e-9, schedule="plateau", patience=1, patience_updates=1)
    context = RunContext()
    fit(context, epochs=5)
    assert len({lr for _, lr in context.curves["lr"]}) == 1
    assert not any("stalled" in note for note in context.notes)


def test_a_single_class_is_no_stalled_start(monkeypatch, caplog):
    monkeypatch.setattr("pipelines.learned.stalled_start.STALL_UPDATES", 1)
    context = RunContext()
    build(epochs=1).fit(
        Split.from_arrays(
            np.zeros((12, 32, 32, 3), np.uint8), np.zeros(12, int), class_names=("one",)
        ),
        None,
        context,
    )
    assert not any("stalled" in note for note in context.notes)
    assert not caplog.records


def test_a_stalled_start_is_reported_within_a_long_epoch(monkeypatch, caplog):
    # 26 updates per epoch, from weights that give nearly equal logits.
    change_short_recipe(monkeypatch, lr=1e-9, batch_size=2, init="published")
    monkeypatch.setattr("pipelines.learned.stalled_start.STALL_UPDATES", 8)
    fit(RunContext(), epochs=1)
    assert "after 8 updates" in caplog.text


def test_a_network_that_learns_is_not_reported(monkeypatch, caplog):
    monkeypatch.setattr("pipelines.learned.stalled_start.STALL_UPDATES", 20)
    context = RunContext()
    build(epochs=4).fit(striped_split(120), None, context)
    assert not any("stalled" in note for note in context.notes)
    assert not caplog.records
