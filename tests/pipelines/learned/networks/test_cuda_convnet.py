"""The networks of cuda-convnet against counts by hand and the lines of its layer files."""

from __future__ import annotations

import pytest
import torch

from pipelines.learned.networks.cuda_convnet import DECAY, cuda_convnet

COUNTS = {  # parameters, multiply-adds
    "80sec": (145_578, 12_354_176),
    "19pct": (89_578, 12_298_240),
    "18pct": (89_578, 12_298_240),
    "13pct": (1_116_490, None),
    "11pct": (2_112_970, None),
}


def net(layers, classes=10, **options):
    network = cuda_convnet(layers, classes=classes, **options)
    network.initialize("published", torch.Generator().manual_seed(0))
    return network


@pytest.mark.parametrize("layers", COUNTS)
def test_counts(layers):
    rows = net(layers).layers()
    parameters, multiply_adds = COUNTS[layers]
    assert (
        sum(row["parameters"] for row in rows)
        == parameters
        == sum(p.numel() for p in net(layers).parameters())
    )
    if multiply_adds:
        assert sum(row["multiply_adds"] for row in rows) == multiply_adds


@pytest.mark.parametrize(
    ("layers", "crop", "sides"),
    [("80sec", 32, (32, 16, 8, 4)), ("18pct", 32, (32, 16, 8, 4)), ("11pct", 24, (24, 12, 6))],
)
def test_ceil_pooling(layers, crop, sides):
    network = net(layers)
    assert network.crop == crop
    sizes = [row["output"][1] for row in network.layers() if len(row["output"]) == 3]
    assert tuple(dict.fromkeys(sizes)) == sides
    logits = network(torch.zeros(2, 3, crop, crop))
    assert logits.shape == (2, 10)


def test_windows_past_the_edge_average_what_is_there():
    pool = net("80sec").pool2
    assert torch.equal(pool(torch.ones(1, 1, 16, 16)), torch.ones(1, 1, 8, 8))


def test_order_of_layers():
    assert [name for name, _ in net("80sec").named_children()] == [
        "conv1", "pool1", "act1", "conv2", "act2", "pool2", "conv3", "act3", "pool3", "flatten", "fc64", "act_fc64", "fc10",
    ]  # fmt: skip
    assert [name for name, _ in net("18pct").named_children()][:5] == [
        "conv1",
        "pool1",
        "act1",
        "rnorm1",
        "conv2",
    ]
    assert [name for name, _ in net("11pct").named_children()][:8] == [
        "conv1", "act1", "pool1", "rnorm1", "conv2", "act2", "rnorm2", "pool2",
    ]  # fmt: skip
    eleven = net("11pct").rnorm1
    assert (eleven.k, eleven.n, eleven.alpha, eleven.beta) == (
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
def test_parameter_files(layers):
    network = net(layers, classes=500)  # classes enough to measure a deviation by
    assert set(network.starts) == set(FILES[layers])
    for name, (deviation, decay) in FILES[layers].items():
        layer, start = getattr(network, name), network.starts[name]
        assert layer.weight.std().item() == pytest.approx(deviation, rel=0.1)
        assert not layer.bias.any()
        assert (start.rate, start.bias_rate) == (1, 2)  # epsW 0.001, epsB 0.002
        assert start.decay * DECAY == pytest.approx(decay)


def test_groups_hold_every_parameter_once():
    network = net("11pct")
    held = [id(p) for group in network.groups() for p in group.parameters]
    assert sorted(held) == sorted(id(p) for p in network.parameters())
    biases = [group for group in network.groups() if group.rate == 2]
    assert [(len(group.parameters), group.decay) for group in biases] == [(5, 0)]
