"""The gradient is summed over processes bucket by bucket, during the backward pass."""

from __future__ import annotations

import pytest
import torch

from harness.engine.context import RunContext
from harness.engine.distributed import Processes
from pipelines.learned import gradient_sum
from pipelines.learned.collectives import Collectives
from pipelines.learned.gradient_sum import GradientSum
from pipelines.learned.networks.network import LayerInit, NetworkBuilder
from pipelines.learned.optimizers import Optimizer
from pipelines.learned.recipe import RECIPE_2012

EXTRAS = [257.0, 3.0]  # 257 is no bfloat16


@pytest.fixture(autouse=True)
def small_buckets(monkeypatch):
    monkeypatch.setattr(gradient_sum, "BUCKET_VALUES", 100)


def small_network():
    builder = NetworkBuilder(4, "relu")
    for name, units in (("fc1", 6), ("fc2", 9), ("fc3", 3)):
        builder.connect(name, units, LayerInit(std=0.3, bias_lr_factor=2.0))
    network = builder.network()
    network.initialize("published", torch.Generator().manual_seed(0))
    return network


def backward(network):
    images = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    network(images).square().sum().backward()


class SumOfTwo(Collectives):
    """Doubles a tensor when its sum is waited for, and records the sums of a backward pass."""

    def __init__(self, network):
        super().__init__(RunContext(processes=Processes(0, 2, torch.device("cpu"))))
        self.network, self.started = network, []

    def start_sum(self, tensor):
        first_is_known = bool(self.network.fc1.weight.grad.any())
        self.started.append((tensor.numel(), tensor.dtype, first_is_known))
        return lambda: tensor.mul_(2)


def summed_gradient(updates=1, **options):
    network = small_network()
    optimizer = Optimizer(network, RECIPE_2012, extras=2)
    collectives = SumOfTwo(network)
    total = GradientSum(network, optimizer, collectives, **options)
    for _ in range(updates):
        optimizer.gradient.zero_()
        optimizer.all_reduce_buffer[-2:] = torch.tensor(EXTRAS)
        collectives.started.clear()
        backward(network)
        total.finish()
    return optimizer.all_reduce_buffer, collectives.started


def expected_gradient():
    network = small_network()
    optimizer = Optimizer(network, RECIPE_2012, extras=2)
    backward(network)
    optimizer.all_reduce_buffer[-2:] = torch.tensor(EXTRAS)
    return 2 * optimizer.all_reduce_buffer


@pytest.mark.parametrize("overlaps", [True, False])
def test_all_gradients_and_extras_are_summed_once_per_update(overlaps):
    buffer, started = summed_gradient(updates=2, overlaps=overlaps)
    assert torch.equal(buffer, expected_gradient())
    assert sum(size for size, _, _ in started) == len(buffer)


def test_the_last_layers_are_exchanged_before_the_first_gradient_is_known():
    _, started = summed_gradient()
    # fc2 and fc3 are a bucket, fc1 another, and the biases with the extras the last.
    assert [size for size, _, _ in started] == [6 * 9 + 9 * 3, 6 + 9 + 3 + 2, 48 * 6]
    knows_first = [known for _, _, known in started]
    assert (knows_first[0], knows_first[-1]) == (False, True)
    assert all(known for _, _, known in summed_gradient(overlaps=False)[1])


def test_bfloat16_halves_what_is_exchanged_of_weights_and_leaves_counts_exact():
    buffer, started = summed_gradient(in_bfloat16=True)
    types = [dtype for _, dtype, _ in started]
    assert types == [torch.bfloat16, torch.float32, torch.bfloat16]
    assert buffer[-2:].tolist() == [514.0, 6.0]
    expected = expected_gradient()
    assert not torch.equal(buffer, expected)
    torch.testing.assert_close(buffer, expected, rtol=2**-8, atol=0)


def test_one_process_exchanges_nothing():
    network = small_network()
    optimizer = Optimizer(network, RECIPE_2012, extras=2)
    collectives = Collectives(RunContext())
    total = GradientSum(network, optimizer, collectives)
    backward(network)
    before = optimizer.all_reduce_buffer.clone()
    total.finish()
    assert torch.equal(optimizer.all_reduce_buffer, before)
