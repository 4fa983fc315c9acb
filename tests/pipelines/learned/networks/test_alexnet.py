"""The networks have the sizes that the paper and its author's files give."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from pipelines.alexnet import build
from pipelines.learned.batch_noise import BatchNoise
from pipelines.learned.networks.alexnet import FULL, ONE_TOWER, AlexNetConfig, alexnet, small_shape
from pipelines.learned.normalization import LocalResponseNorm


def full(shape=FULL, crop=224, num_classes=1000, **options):
    with torch.device("meta"):
        return alexnet(AlexNetConfig(**options), shape, crop=crop, num_classes=num_classes)


def small(crop=28, **options):
    return alexnet(AlexNetConfig(**options), small_shape(crop), crop=crop, num_classes=10)


def tiny(**options):
    network = small(**options)
    network.initialize("he", torch.Generator().manual_seed(0))
    return network


def parameters(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 60_965_224),
        ({"crop": 227}, 60_965_224),
        ({"columns": 1}, 62_378_344),
        ({"columns": "half"}, 59_798_312),
        ({"num_classes": 102}, 57_286_118),
        ({"shape": ONE_TOWER, "columns": 1}, 61_100_840),
        ({"order": "caffe", "crop": 227}, 60_965_224),
        # conv4 has 384 x 192 x 9 weights and 384 biases;
        # conv6 and an ungrouped conv5 have 256 x 256 x 9 and 256.
        ({"depth": 4}, 60_965_224 - 384 * 192 * 9 - 384),
        ({"depth": 6}, 60_965_224 + 256 * 256 * 9 + 256),
        ({"depth": 3}, 60_965_224 - 885_120 - 663_936 - 442_624 + 256 * 256 * 9 + 256),
        ({"batch_norm": True}, 60_965_224 + 2 * (96 + 256 + 384 + 384 + 256 + 2 * 4096)),
    ],
)
def test_number_of_parameters(options, expected):
    network = full(**options)
    assert parameters(network) == expected
    assert sum(row["parameters"] for row in network.layers()) == expected


def test_multiply_adds_per_view():
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


def test_the_layers_are_those_of_the_paper():
    rows = full().layers()
    assert {row["name"]: (row["output"], row["parameters"]) for row in rows} == PAPER


def outputs_of_a_forward_pass(network):
    shapes = {}
    for name, module in network.named_children():
        module.register_forward_hook(
            lambda _, __, out, name=name: shapes.update({name: tuple(out.shape[1:])})
        )
    device = next(network.parameters()).device
    network(torch.zeros(1, 3, network.crop, network.crop, device=device))
    return shapes


@pytest.mark.parametrize("crop", [224, 227])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"order": "code"},
        {"order": "caffe"},
        {"columns": "half"},
        {"depth": 3},
        {"depth": 6},
        {"pool": "plain"},
    ],
    ids=str,
)
def test_outputs_have_the_shapes_that_layers_lists(crop, options):
    network = full(crop=crop, **options)
    shapes = outputs_of_a_forward_pass(network)
    for row in network.layers():
        assert shapes[row["name"]] == row["output"]


@pytest.mark.parametrize("pool", ["overlapping", "plain"])
@pytest.mark.parametrize("crop", [28, 35, 56, 84, 111])
def test_small_variants_have_the_shapes_that_layers_lists(crop, pool):
    network = small(crop, pool=pool)
    shapes = outputs_of_a_forward_pass(network)
    for row in network.layers():
        assert shapes[row["name"]] == row["output"]
    assert 28 <= network.layers()[0]["output"][1] <= 55


def test_only_conv3_sees_both_columns():
    """A change in one column after conv1 reaches one half of conv2 and all of conv3."""
    network = tiny(norm=partial(LocalResponseNorm, columns=2))
    maps = torch.rand(1, 32, 14, 14)
    changed = maps.clone()
    changed[:, :16] += 1

    def differing(module, before, after):
        return ((module(before) - module(after)).abs().amax((0, 2, 3)) > 0).tolist()

    assert differing(network.norm1, maps, changed) == [True] * 16 + [False] * 16
    assert differing(network.conv2, maps, changed) == [True] * 48 + [False] * 48
    second = torch.rand(1, 96, 7, 7)
    changed_second = second.clone()
    changed_second[:, :48] += 1
    assert all(differing(network.conv3, second, changed_second))


@pytest.mark.parametrize(("depth", "first"), [(3, "conv5"), (4, "conv3"), (5, "conv3")])
def test_the_first_layer_after_pool2_sees_both_columns(depth, first):
    network = full(depth=depth)
    groups = {
        name: module.groups for name, module in network.named_children() if name.startswith("conv")
    }
    assert {name for name, count in groups.items() if count == 1} == {"conv1", first}


def test_the_sixth_layer_follows_the_last_pooling_layer():
    names = [row["name"] for row in full(depth=6).layers()]
    assert names[names.index("pool5") + 1] == "conv6"
    assert full(depth=6).outputs["conv6"] == (256, 6, 6)


def order_of(network, *wanted):
    return [name for name, _ in network.named_children() if name.startswith(wanted)]


def test_the_orders_are_those_of_their_sources():
    """The sources are the paper, the author's layers-145.cfg and Caffe's train_val.prototxt."""
    stage = ("conv1", "act1", "norm1", "pool1", "conv2", "act2", "norm2", "same_map_norm2", "pool2")
    assert order_of(full(), *stage) == [
        "conv1",
        "act1",
        "norm1",
        "pool1",
        "conv2",
        "act2",
        "norm2",
        "pool2",
    ]
    assert order_of(full(order="code"), *stage) == [
        "conv1", "norm1", "pool1", "act1", "conv2", "act2", "norm2", "same_map_norm2", "pool2",
    ]  # fmt: skip
    assert order_of(full(order="caffe"), *stage) == [
        "conv1",
        "act1",
        "pool1",
        "norm1",
        "conv2",
        "act2",
        "pool2",
        "norm2",
    ]


def test_the_published_initialization():
    network = tiny(depth=6)
    network.initialize("published", torch.Generator().manual_seed(3))
    for name, layer in network.named_children():
        if hasattr(layer, "weight"):
            assert set(layer.bias.tolist()) == {
                1.0 if name in {"conv2", "conv4", "conv5", "conv6", "fc6", "fc7"} else 0.0
            }
            assert layer.weight.std().item() == pytest.approx(0.01, rel=0.06)
    again = tiny(depth=6)
    again.initialize("published", torch.Generator().manual_seed(3))
    assert all(
        torch.equal(a, b)
        for a, b in zip(network.state_dict().values(), again.state_dict().values(), strict=True)
    )


# Per layer of layers-145.cfg and layer-params-145.cfg, both columns together: initW, initB, and
# epsB relative to the first epsW, 0.01. conv6 is layers-146.cfg's.
CODE = {
    "conv1": (0.01, 0.0),
    "conv2": (0.01, 1.0),
    "conv3": (0.03, 0.0),
    "conv4": (0.03, 1.0),
    "conv5": (0.03, 1.0),
    "conv6": (0.03, 1.0),
    "fc6": (0.01, 1.0),
    "fc7": (0.01, 1.0),
    "fc8": (0.01, 0.0),
}


def test_recipe_code_has_the_weights_and_rates_of_the_authors_files():
    with torch.device("meta"):
        network = build(recipe="code", depth=6).design.network(1000, 256)
    layers = {name: (init.std, init.bias) for name, init in network.inits.items()}
    assert layers == CODE
    weights, biases = network.parameter_groups()
    assert (weights.lr_factor, weights.weight_decay_factor, weights.is_bias) == (1.0, 1.0, False)
    assert (biases.lr_factor, biases.weight_decay_factor, biases.is_bias) == (2.0, 0.0, True)
    assert parameters(network) == 60_965_224 + 256 * 256 * 9 + 256


def test_recipe_code_has_the_layers_of_the_authors_files():
    with torch.device("meta"):
        network = build(recipe="code").design.network(1000, 256)
    assert [name for name, _ in network.named_children()][:9] == [
        "conv1", "norm1", "pool1", "act1", "conv2", "act2", "norm2", "same_map_norm2", "pool2",
    ]  # fmt: skip
    # cmrnorm: minDiv=2, scale=0.0001 / size, within a column; rnorm: scale=0.001 / size^2.
    for norm in (network.norm1, network.norm2):
        assert (norm.k, norm.n, norm.beta, norm.columns) == (2.0, 5, 0.75, 2)
        assert norm.alpha == pytest.approx(0.0001 / 5)
    maps = network.same_map_norm2
    assert (maps.size, maps.scale, maps.power) == (5, 0.001, 0.75)


def test_he_init_compensates_for_normalization_and_dropout():
    network = tiny()
    for name, factor in {
        "conv1": 1,
        "conv2": 2**-1.5,
        "conv3": 2**-1.5,
        "conv4": 1,
        "fc6": 1,
        "fc7": 0.5,
    }.items():
        layer = getattr(network, name)
        assert layer.weight.std().item() == pytest.approx(
            (2 / (layer.weight[0].numel() * factor)) ** 0.5, rel=0.06
        )
        assert not layer.bias.any()
    assert network.fc8.weight.std().item() == pytest.approx(0.01, rel=0.06)


def test_options_add_and_remove_layers():
    names = dict(full(norm=None, activation="tanh").named_children())
    assert not any("norm" in name for name in names)
    assert sum(isinstance(m, torch.nn.Tanh) for m in names.values()) == 7
    assert sum(isinstance(m, torch.nn.Sigmoid) for m in full(activation="sigmoid").children()) == 7
    assert full(pool="plain").layers()[2]["output"] == (96, 28, 28)
    assert order_of(full(batch_norm=True), "conv3", "batch_norm3", "act3") == [
        "conv3",
        "batch_norm3",
        "act3",
    ]


def test_batch_norm_updates_its_averages_only_in_training():
    network = tiny(batch_norm=True, norm=None)
    images = torch.rand(8, 3, 28, 28)
    network(images)
    assert not network.batch_norm1.mean.any()
    network(images, BatchNoise(torch.Generator().manual_seed(0), 8))
    maps = network.conv1(images)
    torch.testing.assert_close(
        network.batch_norm1.mean, 0.1 * maps.mean((0, 2, 3)), rtol=1e-4, atol=1e-6
    )


def test_only_weights_decay():
    weights, others = full(batch_norm=True).parameter_groups()
    assert (weights.lr_factor, weights.weight_decay_factor) == (1.0, 1.0)
    assert (others.lr_factor, others.weight_decay_factor) == (1.0, 0.0)
    assert all(p.ndim >= 2 for p in weights.parameters)
    assert len(others.parameters) == 8 + 2 * 7


def test_initial_weights_of_the_small_variant_grow_with_the_ratio_of_fan_ins():
    narrow = build(recipe="2012").design.network(10, 32)
    narrow.initialize("published", torch.Generator().manual_seed(0))
    # Fan-ins of the paper's layer and of the narrow one, by hand.
    fan_ins = {
        "conv1": (3 * 121, 3 * 25),
        "conv2": (48 * 25, 16 * 9),
        "conv3": (256 * 9, 96 * 9),
        "conv4": (192 * 9, 64 * 9),
        "conv5": (192 * 9, 64 * 9),
        "fc6": (9216, 96 * 9),
        "fc7": (4096, 512),
        "fc8": (1, 1),
    }
    for name, (published, narrow_fan_in) in fan_ins.items():
        assert getattr(narrow, name).weight.std().item() == pytest.approx(
            0.01 * (published / narrow_fan_in) ** 0.5, rel=0.05
        ), name


def test_only_with_scaled_initial_weights_the_small_variant_tells_images_apart():
    """With the paper's own the logits of all images are nearly equal: the loss stays at ln(10)."""
    images = 64 * torch.randn(32, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    spreads = []
    for network in (
        small(),
        build(recipe="2012").design.network(10, 32),
    ):
        network.initialize("published", torch.Generator().manual_seed(0))
        with torch.no_grad():
            logits = network(images)
        spreads.append(float((logits.std(0) / logits.abs().mean(0)).mean()))
    assert spreads[0] < 1e-4 < 1e-2 < spreads[1]
