from __future__ import annotations

import numpy as np
import torch
from torch import nn

from pipelines.learned.sgd import MomentumSGD


def test_update_rule_of_the_paper():
    """Against the two lines of section 5 in numpy, with a rate that falls: the old velocity keeps the old rate."""
    network = nn.Linear(3, 2)
    w, b = network.weight.detach().numpy().copy(), network.bias.detach().numpy().copy()
    vw, vb = np.zeros_like(w), np.zeros_like(b)
    optimiser = MomentumSGD(network, momentum=0.9, weight_decay=0.0005)
    generator = torch.Generator().manual_seed(0)
    for rate in (0.5, 0.5, 0.05, 0.05):
        x = torch.randn(4, 3, generator=generator)
        network(x).square().mean().backward()
        gw, gb = network.weight.grad.numpy().copy(), network.bias.grad.numpy().copy()
        optimiser.step(rate)
        vw = 0.9 * vw - 0.0005 * rate * w - rate * gw
        vb = 0.9 * vb - rate * gb
        w, b = w + vw, b + vb
        np.testing.assert_allclose(network.weight.detach().numpy(), w, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(network.bias.detach().numpy(), b, rtol=1e-5, atol=1e-7)
        assert not network.weight.grad.any()


def test_equals_torch_while_the_rate_is_constant():
    ours, stock = nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)
    stock.load_state_dict(ours.state_dict())
    optimiser = MomentumSGD(ours, momentum=0.9, weight_decay=0.1)
    reference = torch.optim.SGD(stock.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for i in range(5):
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(i))
        ours(x).square().mean().backward()
        optimiser.step(0.1)
        reference.zero_grad()
        stock(x).square().mean().backward()
        reference.step()
    torch.testing.assert_close(ours.weight, stock.weight)


def test_bucket_holds_the_gradient_then_the_extras():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    optimiser = MomentumSGD(network, momentum=0.9, weight_decay=0.0, extras=2)
    optimiser.bucket[-2:] = torch.tensor([7.0, 8.0])
    network(torch.ones(1, 3, 3, 3)).sum().backward()
    assert len(optimiser.bucket) == sum(p.numel() for p in network.parameters()) + 2
    assert optimiser.bucket[-4:].tolist() == [1.0, 1.0, 7.0, 8.0]  # the last bias's gradient is 1
