from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pipelines.learned import optimizers
from pipelines.learned.networks.cuda_convnet import DECAY, cuda_convnet
from pipelines.learned.networks.network import Chain, Start
from pipelines.learned.optimizers import Optimizer
from pipelines.learned.recipe import RECIPE_2012


def linear(start=Start()):  # noqa: B008 (frozen)
    chain = Chain(1, "relu")
    chain.connect("fc", 2, start)
    network = chain.network()
    network.initialize("published", torch.Generator().manual_seed(0))
    return network


def images(seed):
    return torch.randn(4, 3, 1, 1, generator=torch.Generator().manual_seed(seed))


def test_update_rule_of_the_paper():
    """Against the two lines of section 5 in numpy, with a rate that falls: the old velocity keeps the old rate."""
    network = linear()
    w, b = network.fc.weight.detach().numpy().copy(), network.fc.bias.detach().numpy().copy()
    vw, vb = np.zeros_like(w), np.zeros_like(b)
    optimizer = Optimizer(network, RECIPE_2012)
    for seed, rate in enumerate((0.5, 0.5, 0.05, 0.05)):
        network(images(seed)).square().mean().backward()
        gw, gb = network.fc.weight.grad.numpy().copy(), network.fc.bias.grad.numpy().copy()
        optimizer.step(rate)
        vw = 0.9 * vw - 0.0005 * rate * w - rate * gw
        vb = 0.9 * vb - rate * gb
        w, b = w + vw, b + vb
        np.testing.assert_allclose(network.fc.weight.detach().numpy(), w, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(network.fc.bias.detach().numpy(), b, rtol=1e-5, atol=1e-7)
        assert not network.fc.weight.grad.any()


STOCK = {
    "sgd": lambda groups: torch.optim.SGD(groups, momentum=0.9),
    "adam": lambda groups: torch.optim.Adam(groups),
    "adamw": lambda groups: torch.optim.AdamW(groups),
}


@pytest.mark.parametrize("rule", STOCK)
def test_later_rules_are_torchs(monkeypatch, rule):
    monkeypatch.setattr(optimizers, "CACHED_VALUES", 4)  # several blocks, the last one shorter
    ours, stock = linear(Start(rate=2.0, bias_rate=3.0, decay=0.5)), linear()
    optimizer = Optimizer(ours, replace(RECIPE_2012, optimizer=rule, weight_decay=0.2))
    reference = STOCK[rule](
        [
            {"params": [stock.fc.weight], "weight_decay": 0.1},
            {"params": [stock.fc.bias], "weight_decay": 0.0},
        ]
    )
    for seed, rate in enumerate((0.02, 0.02, 0.01, 0.005)):
        for group, multiple in zip(reference.param_groups, (2, 3), strict=True):
            group["lr"] = rate * multiple
        ours(images(seed)).square().mean().backward()
        optimizer.step(rate)
        reference.zero_grad()
        stock(images(seed)).square().mean().backward()
        reference.step()
        torch.testing.assert_close(ours.fc.weight, stock.fc.weight)
        torch.testing.assert_close(ours.fc.bias, stock.fc.bias)


def test_the_papers_rule_is_torchs_while_the_rate_is_constant():
    ours, stock = linear(), linear()
    one, other = (
        Optimizer(ours, RECIPE_2012),
        Optimizer(stock, replace(RECIPE_2012, optimizer="sgd")),
    )
    for seed in range(5):
        for network, optimizer in ((ours, one), (stock, other)):
            network(images(seed)).square().mean().backward()
            optimizer.step(0.1)
    torch.testing.assert_close(ours.fc.weight, stock.fc.weight)


def test_layers_have_weight_decays_and_rates_of_their_own():
    """One update without a gradient: w <- w - rate * decay * w, the decays as in layer-params-80sec.cfg."""
    network = cuda_convnet("80sec", classes=10)
    network.initialize("published", torch.Generator().manual_seed(0))
    nn.init.ones_(network.conv1.bias)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimizer = Optimizer(network, replace(RECIPE_2012, weight_decay=DECAY))
    optimizer.step(0.1)
    for name, decay in {"conv1": 0.004, "conv3": 0.004, "fc64": 0.03, "fc10": 0.03}.items():
        torch.testing.assert_close(
            network.get_parameter(f"{name}.weight"), before[f"{name}.weight"] * (1 - 0.1 * decay)
        )
    assert torch.equal(network.conv1.bias, before["conv1.bias"])
    network.conv1.bias.grad.fill_(1.0)
    optimizer.step(0.1)
    torch.testing.assert_close(network.conv1.bias, before["conv1.bias"] - 0.2)


def test_bucket_holds_the_gradient_then_the_extras():
    network = linear()
    optimizer = Optimizer(network, RECIPE_2012, extras=2)
    optimizer.shared[-2:] = torch.tensor([7.0, 8.0])
    network(torch.ones(1, 3, 1, 1)).sum().backward()
    assert len(optimizer.shared) == sum(p.numel() for p in network.parameters()) + 2
    assert optimizer.shared[-4:].tolist() == [1.0, 1.0, 7.0, 8.0]  # the last bias's gradient is 1


@pytest.mark.parametrize("rule", [*STOCK, "paper-sgd"])
def test_it_goes_on_from_its_state(rule):
    recipe = replace(RECIPE_2012, optimizer=rule)
    network, other = linear(), linear()
    optimizer, second = Optimizer(network, recipe), Optimizer(other, recipe)
    for seed in range(3):
        network(images(seed)).square().mean().backward()
        optimizer.step(0.01)
    other.load_state_dict(network.state_dict())
    second.load({name: array.clone() for name, array in optimizer.state().items()})
    for each, mover in ((network, optimizer), (other, second)):
        each(images(9)).square().mean().backward()
        mover.step(0.01)
    assert torch.equal(network.fc.weight, other.fc.weight)
