"""Each option of alexnet changes the network or the recipe as it says."""

from __future__ import annotations

import pytest
import torch

from pipelines.alexnet import build
from pipelines.learned.layers import Dropout
from pipelines.learned.normalization import BatchNorm, LocalResponseNorm


def network(**options):
    with torch.device("meta"):
        return build(**options).design.network(1000, 256)


def layers_of(network, kind):
    return [layer for layer in network.modules() if isinstance(layer, kind)]


def layer_names(network):
    return [name for name, _ in network.named_children()]


def count(kind):
    return lambda network: len(layers_of(network, kind))


def attributes(kind, name):
    return lambda network: [getattr(layer, name) for layer in layers_of(network, kind)]


def first_layers(network):
    return layer_names(network)[:4]


@pytest.mark.parametrize(
    ("option", "inspect", "default", "changed"),
    [
        ({"lrn": False}, count(LocalResponseNorm), 2, 0),
        ({"lrn_alpha": "code"}, attributes(LocalResponseNorm, "alpha"), [1e-4] * 2, [2e-5] * 2),
        ({"pool": "plain"}, attributes(torch.nn.MaxPool2d, "kernel_size"), [3] * 3, [2] * 3),
        ({"activation": "tanh"}, count(torch.nn.Tanh), 0, 7),
        ({"activation": "sigmoid"}, count(torch.nn.Sigmoid), 0, 7),
        ({"dropout": 0.3}, attributes(Dropout, "p"), [0.5] * 2, [0.3] * 2),
        ({"batch_norm": True}, count(BatchNorm), 0, 7),
        ({"columns": 1}, attributes(torch.nn.Conv2d, "groups"), [1, 2, 1, 2, 2], [1] * 5),
        (
            {"columns": "half"},
            attributes(torch.nn.Conv2d, "out_channels"),
            [96, 256, 384, 384, 256],
            [48, 128, 192, 192, 256],
        ),
        ({"depth": 3}, count(torch.nn.Conv2d), 5, 3),
        (
            {"order": "code"},
            first_layers,
            ["conv1", "act1", "norm1", "pool1"],
            ["conv1", "norm1", "pool1", "act1"],
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_an_option_changes_the_network(option, inspect, default, changed):
    assert inspect(network()) == default
    assert inspect(network(**option)) == changed


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("optimizer", "adamw"),
        ("optimizer", "sgd"),
        ("schedule", "cosine"),
        ("schedule", "step"),
        ("lr", 0.5),
        ("weight_decay", 0.25),
        ("epochs", 7),
    ],
)
def test_an_option_changes_the_recipe(option, value):
    default = build().design.recipe(1000, 256)
    changed = build(**{option: value}).design.recipe(1000, 256)
    assert getattr(changed, option) == value != getattr(default, option)


def test_batch_changes_the_batch_size_and_with_it_the_learning_rate():
    changed = build(batch=512).design.recipe(100_000, 256)
    assert (changed.batch_size, changed.lr) == (512, pytest.approx(0.04))


@pytest.mark.parametrize(
    ("recipe", "expected"), [("2012", ("2012", "plateau", 90)), ("code", ("code", "step", 90))]
)
def test_one_switch_chooses_between_the_paper_and_its_authors_code(recipe, expected):
    pipeline = build(recipe=recipe)
    chosen = pipeline.design.recipe(1000, 256)
    assert (chosen.name, chosen.schedule, chosen.epochs) == expected
    source = "code" if recipe == "code" else "paper"
    assert pipeline.view_config.color_scale == pipeline.view_config.mean == source
    assert pipeline.design.config.order == source
    assert chosen.post_2012 == pipeline.design.post_2012 == ()
