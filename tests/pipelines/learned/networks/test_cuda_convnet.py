"""The networks have the sizes counted by hand and the values of cuda-convnet's layer files."""

from __future__ import annotations

import pytest
import torch

from pipelines.learned.networks.cuda_convnet import BASE_WEIGHT_DECAY, cuda_convnet

COUNTS = {  # parameters, multiply-adds
    "80sec": (145_578, 12_354_176),
    "19pct": (89_578, 12_298_240),
    "18pct": (89_578, 12_298_240),
    "13pct": (1_116_490, None),
    "11pct": (2_112_970, None),
}


def make_network(layers, num_classes=10):
    network = cuda_convnet(layers, num_classes=num_classes)
    network.initialize("published", torch.Generator().manual_seed(0))
    return network


@pytest.mark.parametrize("layers", COUNTS)
def test_numbers_of_parameters_and_multiply_adds(layers):
    rows = make_network(layers).layers()
    parameters, multiply_adds = COUNTS[layers]
    assert (
        sum(row["parameters"] for row in rows)
        == parameters
        == sum(p.numel() for p in make_network(layers).parameters())
    )
    if multiply_adds:
        assert sum(row["multiply_adds"] for row in rows) == multiply_adds


@pytest.mark.parametrize(
    ("layers", "crop", "sides"),
    [("80sec", 32, (32, 16, 8, 4)), ("18pct", 32, (32, 16, 8, 4)), ("11pct", 24, (24, 12, 6))],
)
def test_sides_after_pooling(layers, crop, sides):
    network = make_network(layers)
    assert network.crop == crop
    sizes = [row["output"][1] for row in network.layers() if len(row["output"]) == 3]
    assert tuple(dict.fromkeys(sizes)) == sides
    logits = network(torch.zeros(2, 3, crop, crop))
    assert logits.shape == (2, 10)


def test_average_pooling_past_the_edge_averages_the_pixels_inside():
    pool = make_network("80sec").pool2
    assert torch.equal(pool(torch.ones(1, 1, 16, 16)), torch.ones(1, 1, 8, 8))


def test_order_of_the_layers():
    names = {
        layers: [name for name, _ in make_network(layers).named_children()] for layers in COUNTS
    }
    assert " ".join(names["80sec"]) == (
        "conv1 pool1 act1 conv2 act2 pool2 conv3 act3 pool3 flatten fc64 act_fc64 fc10"
    )
    assert " ".join(names["18pct"][:5]) == "conv1 pool1 act1 rnorm1 conv2"
    assert " ".join(names["11pct"][:8]) == "conv1 act1 pool1 rnorm1 conv2 act2 rnorm2 pool2"


def test_11pct_normalizes_across_maps_as_its_file_says():
    norm = make_network("11pct").rnorm1
    assert (norm.k, norm.n, norm.alpha, norm.beta) == (
        1.0,
        9,
        pytest.approx(0.001 / 9),
        0.75,
    )


# initW and wc of each layer
FILES = {
    "80sec": {
        "conv1": (1e-4, 0.004),
        "conv2": (0.01, 0.004),
        "conv3": (0.01, 0.004),
        "fc64": (0.1, 0.03),
        "fc10": (0.1, 0.03),
    },
    "19pct": {
        "conv1": (1e-4, 0.004),
        "conv2": (0.01, 0.004),
        "conv3": (0.01, 0.004),
        "fc10": (0.01, 3),
    },
    "18pct": {
        "conv1": (1e-4, 0.004),
        "conv2": (0.01, 0.004),
        "conv3": (0.01, 0.004),
        "fc10": (0.01, 1),
    },
    "13pct": {
        "conv1": (1e-4, 0),
        "conv2": (0.01, 0),
        "local3": (0.04, 0.004),
        "local4": (0.04, 0.004),
        "fc10": (0.01, 0.004),
    },
    "11pct": {
        "conv1": (1e-4, 0),
        "conv2": (0.01, 0),
        "local3": (0.04, 0.004),
        "local4": (0.04, 0.004),
        "fc10": (0.01, 0.01),
    },
}


@pytest.mark.parametrize("layers", FILES)
def test_initial_weights_and_weight_decays_are_those_of_the_files(layers):
    network = make_network(layers, num_classes=500)  # enough classes to measure a deviation
    assert set(network.inits) == set(FILES[layers])
    for name, (std, weight_decay) in FILES[layers].items():
        layer, init = getattr(network, name), network.inits[name]
        assert layer.weight.std().item() == pytest.approx(std, rel=0.1)
        assert not layer.bias.any()
        assert (init.lr_factor, init.bias_lr_factor) == (1, 2)  # epsW 0.001, epsB 0.002
        assert init.weight_decay_factor * BASE_WEIGHT_DECAY == pytest.approx(weight_decay)


def test_parameter_groups_hold_every_parameter_once():
    network = make_network("11pct")
    ids = [id(p) for group in network.parameter_groups() for p in group.parameters]
    assert sorted(ids) == sorted(id(p) for p in network.parameters())
    biases = [group for group in network.parameter_groups() if group.lr_factor == 2]
    assert [(len(group.parameters), group.weight_decay_factor) for group in biases] == [(5, 0)]
