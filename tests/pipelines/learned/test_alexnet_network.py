"""The network against the numbers of the paper."""

from __future__ import annotations

import pytest
import torch

from pipelines.learned.networks.alexnet import FULL, AlexNet, small


def full(**options):
    with torch.device("meta"):
        return AlexNet(FULL, **{"crop": 224, "classes": 1000, **options})


def parameters(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 60_965_224),
        ({"crop": 227}, 60_965_224),
        ({"columns": 1}, 62_378_344),
        ({"classes": 102}, 57_286_118),
    ],
)
def test_parameters(options, expected):
    network = full(**options)
    assert parameters(network) == expected
    assert sum(row["parameters"] for row in network.layers()) == expected


def test_multiply_adds_of_one_view():
    assert sum(row["multiply_adds"] for row in full().layers()) == 724_406_816


PAPER = {
    "conv1": ((96, 55, 55), 34_944),
    "norm1": ((96, 55, 55), 0),
    "pool1": ((96, 27, 27), 0),
    "conv2": ((256, 27, 27), 307_456),
    "norm2": ((256, 27, 27), 0),
    "pool2": ((256, 13, 13), 0),
    "conv3": ((384, 13, 13), 885_120),
    "conv4": ((384, 13, 13), 663_936),
    "conv5": ((256, 13, 13), 442_624),
    "pool5": ((256, 6, 6), 0),
    "fc6": ((4096,), 37_752_832),
    "fc7": ((4096,), 16_781_312),
    "fc8": ((1000,), 4_097_000),
}


def test_layer_table():
    rows = full().layers()
    assert {row["name"]: (row["output"], row["parameters"]) for row in rows} == PAPER


def outputs_of_a_forward_pass(network, crop):
    seen = {}
    for name, module in network.named_modules():
        module.register_forward_hook(lambda _, __, out, name=name: seen.update({name.rpartition(".")[2]: tuple(out.shape[1:])}))
    device = next(network.parameters()).device
    network(torch.zeros(1, 3, crop, crop, device=device))
    return seen


@pytest.mark.parametrize("crop", [224, 227])
def test_activations_have_the_shapes_of_the_table(crop):
    seen = outputs_of_a_forward_pass(full(crop=crop, lrn=False), crop)
    for name, (shape, _) in PAPER.items():
        if not name.startswith("norm"):
            assert seen[name] == shape


@pytest.mark.parametrize("pool", ["overlapping", "plain"])
@pytest.mark.parametrize("crop", [28, 35, 56, 84, 111])
def test_small_variant_runs_at_the_sizes_of_its_table(crop, pool):
    network = AlexNet(small(crop), crop=crop, classes=10, pool=pool)
    seen = outputs_of_a_forward_pass(network, crop)
    for row in network.layers():
        assert seen[row["name"]] == row["output"]
    assert 28 <= network.layers()[0]["output"][1] <= 55


def test_columns_meet_in_conv3_only():
    """A change in one column's half of the maps after conv1 reaches one half of conv2 and all of conv3."""
    network = AlexNet(small(28), crop=28, classes=10)
    network.initialise("he", torch.Generator().manual_seed(0))
    maps = torch.rand(1, 32, 14, 14)
    changed = maps.clone()
    changed[:, :16] += 1

    def differing(module, before, after):
        return ((module(before) - module(after)).abs().amax((0, 2, 3)) > 0).tolist()

    assert differing(network.features.conv2, maps, changed) == [True] * 48 + [False] * 48
    second = torch.rand(1, 96, 7, 7)
    moved = second.clone()
    moved[:, :48] += 1
    assert all(differing(network.features.conv3, second, moved))


def test_init_2012():
    network = AlexNet(small(28), crop=28, classes=10)
    network.initialise("2012", torch.Generator().manual_seed(3))
    layers = {name.rpartition(".")[2]: m for name, m in network.named_modules() if hasattr(m, "bias")}
    for name, layer in layers.items():
        assert set(layer.bias.tolist()) == {1.0 if name in {"conv2", "conv4", "conv5", "fc6", "fc7"} else 0.0}
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.06)
    again = AlexNet(small(28), crop=28, classes=10)
    again.initialise("2012", torch.Generator().manual_seed(3))
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), again.state_dict().values(), strict=True))


def test_switches_leave_out_what_they_name():
    names = dict(full(lrn=False, activation="tanh").named_modules())
    assert not any("norm" in name for name in names)
    assert sum(isinstance(m, torch.nn.Tanh) for m in names.values()) == 7
    assert full(pool="plain").layers()[2]["output"] == (96, 28, 28)
