"""Networks and their builder: shapes, parameter groups, initialization and filters."""

from __future__ import annotations

import pytest
import torch

from pipelines.learned.networks.network import LayerInit, NetworkBuilder


def small_network(groups=1):
    builder = NetworkBuilder(8, "relu")
    builder.convolve("conv1", 4, 3, LayerInit(0.1, bias=0.5, bias_lr_factor=2.0))
    builder.activate("act1")
    builder.pool("pool1", 3)
    builder.convolve("conv2", 6, 3, LayerInit(lr_factor=3.0), groups=groups)
    builder.local("local3", 2, 3, LayerInit(weight_decay_factor=0.0))
    builder.connect("fc4", 5, LayerInit())
    builder.drop("drop4", 0.5)
    builder.connect("fc5", 3, LayerInit(0.2))
    network = builder.network()
    network.initialize("published", torch.Generator().manual_seed(0))
    return network


def test_the_builder_knows_the_shape_of_every_output():
    network = small_network()
    assert network.outputs == {
        "conv1": (4, 8, 8),
        "pool1": (4, 4, 4),
        "conv2": (6, 4, 4),
        "local3": (2, 4, 4),
        "fc4": (5,),
        "fc5": (3,),
    }
    assert network.num_classes == 3
    images = torch.randn(2, 3, 8, 8)
    assert network(images).shape == (2, 3)
    assert network.hidden(images).shape == (2, 5)


def test_layers_count_parameters_and_multiply_adds():
    rows = {
        row["name"]: (row["parameters"], row["multiply_adds"]) for row in small_network().layers()
    }
    assert rows["conv1"] == (4 * 27 + 4, 4 * 27 * 64)
    assert rows["pool1"] == (0, 0)
    assert rows["local3"] == (16 * 54 * 2 + 2 * 16, 16 * 54 * 2)
    assert rows["fc5"] == (5 * 3 + 3, 5 * 3)


def test_parameters_with_equal_factors_are_in_one_group():
    network = small_network()
    groups = {
        (group.lr_factor, group.weight_decay_factor, group.is_bias): len(group.parameters)
        for group in network.parameter_groups()
    }
    assert groups == {
        (1.0, 1.0, False): 3,  # weights of conv1, fc4 and fc5
        (2.0, 0.0, True): 1,  # bias of conv1
        (3.0, 1.0, False): 1,  # weights of conv2
        (1.0, 0.0, False): 1,  # weights of local3
        (1.0, 0.0, True): 4,
    }
    assert sum(group.size for group in network.parameter_groups()) == sum(
        p.numel() for p in network.parameters()
    )


def test_initialization_draws_the_published_values_by_seed():
    network, again = small_network(), small_network()
    assert network.conv1.weight.std().item() == pytest.approx(0.1, rel=0.2)
    assert set(network.conv1.bias.tolist()) == {0.5}
    arrays = zip(network.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in arrays)


@pytest.mark.parametrize(
    ("groups", "names"), [(1, ["conv1"]), (2, ["conv1, column 1", "conv1, column 2"])]
)
def test_filters_are_listed_by_the_groups_of_the_second_convolution(groups, names):
    network = small_network(groups)
    filters = network.filters()
    assert list(filters) == names
    assert torch.equal(torch.cat(list(filters.values())), network.conv1.weight)
