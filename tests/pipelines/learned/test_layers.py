from __future__ import annotations

import pytest
import torch
from torch import nn

from pipelines.learned.layers import CeilConv2d, Dropout, LocalResponseNorm
from pipelines.learned.noise import BatchNoise


@pytest.mark.parametrize("beta", [0.75, 0.5])
@pytest.mark.parametrize("channels", [3, 8, 96])
def test_lrn_is_the_stock_layer_with_alpha_times_n(channels, beta):
    generator = torch.Generator().manual_seed(0)
    images = 100 * torch.randn(4, channels, 6, 5, generator=generator)
    upstream = torch.randn(4, channels, 6, 5, generator=generator)
    ours, stock = images.clone().requires_grad_(), images.clone().requires_grad_()
    out = LocalResponseNorm(channels, beta=beta)(ours)
    expected = nn.LocalResponseNorm(5, alpha=5e-4, beta=beta, k=2.0)(stock)
    torch.testing.assert_close(out, expected)
    out.backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(ours.grad, stock.grad)


def test_lrn_formula_of_the_paper():
    a = torch.tensor([10.0, 200.0, 30.0, 40.0])
    out = LocalResponseNorm(4)(a.view(1, 4, 1, 1)).flatten()
    assert out[0].item() == pytest.approx(10 / (2 + 1e-4 * (10**2 + 200**2 + 30**2)) ** 0.75)
    assert out[3].item() == pytest.approx(40 / (2 + 1e-4 * (200**2 + 30**2 + 40**2)) ** 0.75)


def test_lrn_gradient(monkeypatch):
    monkeypatch.setattr("pipelines.learned.layers.CACHED_VALUES", 70)  # several blocks, the last one shorter
    images = torch.randn(2, 7, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(LocalResponseNorm(7, alpha=0.1).double(), images)


def test_dropout_keeps_half_unscaled_in_training_and_halves_at_test():
    units = torch.full((64, 500), 3.0)
    dropout = Dropout(0.5)
    training = dropout(units, BatchNoise(torch.Generator().manual_seed(0), 64))
    assert set(training.flatten().tolist()) == {0.0, 3.0}
    assert (training == 0).float().mean().item() == pytest.approx(0.5, abs=0.01)
    assert torch.equal(dropout(units, None), torch.full_like(units, 1.5))


def test_dropout_rate():
    units = torch.ones(64, 500)
    training = Dropout(0.2)(units, BatchNoise(torch.Generator().manual_seed(0), 64))
    assert (training == 0).float().mean().item() == pytest.approx(0.2, abs=0.01)
    assert torch.equal(Dropout(0.2)(units, None), 0.8 * units)
    assert torch.equal(Dropout(0.0)(units, BatchNoise(torch.Generator(), 64)), units)


def test_ceil_convolution_sees_zeros_past_the_far_edge():
    conv = CeilConv2d(3, 2, 11, 4, 0)
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    padded = nn.functional.pad(images, (0, 3, 0, 3))
    out = conv(images)
    assert out.shape == (1, 2, 55, 55)
    torch.testing.assert_close(out, nn.functional.conv2d(padded, conv.weight, conv.bias, stride=4))


def test_noise_of_two_processes_is_that_of_one():
    whole = BatchNoise(torch.Generator().manual_seed(5), 8)
    shares = [BatchNoise(torch.Generator().manual_seed(5), 8, rank=rank, world=2) for rank in (0, 1)]
    for draw in (lambda n: n.uniform(3), lambda n: n.normal(2), lambda n: n.integers(9, 1)):
        expected = draw(whole)
        for rank, share in enumerate(shares):
            assert torch.equal(draw(share), expected[rank::2])
