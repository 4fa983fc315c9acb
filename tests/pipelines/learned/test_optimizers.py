from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pipelines.learned import optimizers
from pipelines.learned.networks.cuda_convnet import BASE_WEIGHT_DECAY, cuda_convnet
from pipelines.learned.networks.network import LayerInit, NetworkBuilder
from pipelines.learned.optimizers import Optimizer
from pipelines.learned.recipe import RECIPE_2012, RECIPE_CODE


def linear(init=LayerInit()):  # noqa: B008 (frozen)
    builder = NetworkBuilder(1, "relu")
    builder.connect("fc", 2, init)
    network = builder.network()
    network.initialize("published", torch.Generator().manual_seed(0))
    return network


def images(seed):
    return torch.randn(4, 3, 1, 1, generator=torch.Generator().manual_seed(seed))


def test_paper_sgd_is_the_update_rule_of_the_paper():
    """Compare with section 5 in numpy; the old velocity keeps the old learning rate."""
    network = linear()
    w, b = network.fc.weight.detach().numpy().copy(), network.fc.bias.detach().numpy().copy()
    vw, vb = np.zeros_like(w), np.zeros_like(b)
    optimizer = Optimizer(network, RECIPE_2012)
    for seed, lr in enumerate((0.5, 0.5, 0.05, 0.05)):
        network(images(seed)).square().mean().backward()
        gw, gb = network.fc.weight.grad.numpy().copy(), network.fc.bias.grad.numpy().copy()
        optimizer.step(lr)
        vw = 0.9 * vw - 0.0005 * lr * w - lr * gw
        vb = 0.9 * vb - lr * gb
        w, b = w + vw, b + vb
        np.testing.assert_allclose(network.fc.weight.detach().numpy(), w, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(network.fc.bias.detach().numpy(), b, rtol=1e-5, atol=1e-7)
        assert not network.fc.weight.grad.any()


TORCH_OPTIMIZERS = {
    "sgd": lambda groups: torch.optim.SGD(groups, momentum=0.9),
    "adam": lambda groups: torch.optim.Adam(groups),
    "adamw": lambda groups: torch.optim.AdamW(groups),
}


@pytest.mark.parametrize("rule", TORCH_OPTIMIZERS)
def test_other_rules_are_torchs(monkeypatch, rule):
    monkeypatch.setattr(optimizers, "CACHED_VALUES", 4)  # several blocks, the last one shorter
    ours, reference = (
        linear(LayerInit(lr_factor=2.0, bias_lr_factor=3.0, weight_decay_factor=0.5)),
        linear(),
    )
    optimizer = Optimizer(ours, replace(RECIPE_2012, optimizer=rule, weight_decay=0.2))
    torch_optimizer = TORCH_OPTIMIZERS[rule](
        [
            {"params": [reference.fc.weight], "weight_decay": 0.1},
            {"params": [reference.fc.bias], "weight_decay": 0.0},
        ]
    )
    for seed, lr in enumerate((0.02, 0.02, 0.01, 0.005)):
        for group, multiple in zip(torch_optimizer.param_groups, (2, 3), strict=True):
            group["lr"] = lr * multiple
        ours(images(seed)).square().mean().backward()
        optimizer.step(lr)
        torch_optimizer.zero_grad()
        reference(images(seed)).square().mean().backward()
        torch_optimizer.step()
        torch.testing.assert_close(ours.fc.weight, reference.fc.weight)
        torch.testing.assert_close(ours.fc.bias, reference.fc.bias)


def test_paper_sgd_is_torchs_while_the_learning_rate_is_constant():
    ours, reference = linear(), linear()
    one, other = (
        Optimizer(ours, RECIPE_2012),
        Optimizer(reference, replace(RECIPE_2012, optimizer="sgd")),
    )
    for seed in range(5):
        for network, optimizer in ((ours, one), (reference, other)):
            network(images(seed)).square().mean().backward()
            optimizer.step(0.1)
    torch.testing.assert_close(ours.fc.weight, reference.fc.weight)


def test_layers_have_their_own_weight_decay_and_learning_rate():
    """Without a gradient w <- w - lr * decay * w; decays are those of layer-params-80sec.cfg."""
    network = cuda_convnet("80sec", num_classes=10)
    network.initialize("published", torch.Generator().manual_seed(0))
    nn.init.ones_(network.conv1.bias)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimizer = Optimizer(network, replace(RECIPE_2012, weight_decay=BASE_WEIGHT_DECAY))
    optimizer.step(0.1)
    for name, decay in {"conv1": 0.004, "conv3": 0.004, "fc64": 0.03, "fc10": 0.03}.items():
        torch.testing.assert_close(
            network.get_parameter(f"{name}.weight"), before[f"{name}.weight"] * (1 - 0.1 * decay)
        )
    assert torch.equal(network.conv1.bias, before["conv1.bias"])
    network.conv1.bias.grad.fill_(1.0)
    optimizer.step(0.1)
    torch.testing.assert_close(network.conv1.bias, before["conv1.bias"] - 0.2)


def test_the_all_reduce_buffer_holds_the_gradient_then_the_extras():
    network = linear()
    optimizer = Optimizer(network, RECIPE_2012, extras=2)
    optimizer.all_reduce_buffer[-2:] = torch.tensor([7.0, 8.0])
    network(torch.ones(1, 3, 1, 1)).sum().backward()
    assert len(optimizer.all_reduce_buffer) == sum(p.numel() for p in network.parameters()) + 2
    assert optimizer.all_reduce_buffer[-4:].tolist() == [
        1.0,
        1.0,
        7.0,
        8.0,
    ]  # the last bias's gradient is 1


@pytest.mark.parametrize("rule", [*TORCH_OPTIMIZERS, "paper-sgd"])
def test_a_restored_optimizer_does_the_same_update(rule):
    recipe = replace(RECIPE_2012, optimizer=rule)
    network, other = linear(), linear()
    optimizer, second = Optimizer(network, recipe), Optimizer(other, recipe)
    for seed in range(3):
        network(images(seed)).square().mean().backward()
        optimizer.step(0.01)
    other.load_state_dict(network.state_dict())
    second.load({name: array.clone() for name, array in optimizer.state().items()})
    for trained, by in ((network, optimizer), (other, second)):
        trained(images(9)).square().mean().backward()
        by.step(0.01)
    assert torch.equal(network.fc.weight, other.fc.weight)


def test_biases_can_keep_the_first_learning_rate():
    """The author's code of 2012 never lowers epsB, and conv biases learn at twice the rate."""
    network = linear(LayerInit(bias_lr_factor=2.0))
    optimizer = Optimizer(network, replace(RECIPE_CODE, weight_decay=0.0, lr=0.1))
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    network.fc.weight.grad.fill_(1.0), network.fc.bias.grad.fill_(1.0)
    optimizer.step(0.001)
    torch.testing.assert_close(network.fc.weight, before["fc.weight"] - 0.001)
    torch.testing.assert_close(network.fc.bias, before["fc.bias"] - 0.2)
