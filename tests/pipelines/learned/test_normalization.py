from __future__ import annotations

import pytest
import torch
from torch import nn

from pipelines.learned.batch_noise import BatchNoise
from pipelines.learned.normalization import BatchNorm, LocalResponseNorm, SameMapNorm


@pytest.mark.parametrize("beta", [0.75, 0.5])
@pytest.mark.parametrize(("channels", "n"), [(3, 5), (8, 3), (96, 5), (64, 9), (20, 7), (4, 1)])
def test_lrn_is_torchs_layer_with_alpha_times_n(channels, n, beta):
    generator = torch.Generator().manual_seed(0)
    images = 100 * torch.randn(4, channels, 6, 5, generator=generator)
    upstream = torch.randn(4, channels, 6, 5, generator=generator)
    ours, reference = images.clone().requires_grad_(), images.clone().requires_grad_()
    out = LocalResponseNorm(n=n, beta=beta)(ours)
    expected = nn.LocalResponseNorm(n, alpha=n * 1e-4, beta=beta, k=2.0)(reference)
    torch.testing.assert_close(out, expected)
    out.backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(ours.grad, reference.grad)


def test_lrn_with_two_columns_normalizes_each_by_itself():
    images = 100 * torch.randn(2, 12, 4, 4, generator=torch.Generator().manual_seed(0))
    whole = LocalResponseNorm(columns=2)(images)
    assert torch.equal(
        whole, torch.cat([LocalResponseNorm()(half) for half in images.chunk(2, 1)], 1)
    )
    assert not torch.equal(whole, LocalResponseNorm()(images))


def test_lrn_follows_the_formula_of_the_paper():
    a = torch.tensor([10.0, 200.0, 30.0, 40.0])
    out = LocalResponseNorm()(a.view(1, 4, 1, 1)).flatten()
    assert out[0].item() == pytest.approx(10 / (2 + 1e-4 * (10**2 + 200**2 + 30**2)) ** 0.75)
    assert out[3].item() == pytest.approx(40 / (2 + 1e-4 * (200**2 + 30**2 + 40**2)) ** 0.75)


@pytest.mark.parametrize("columns", [1, 2])
def test_lrn_gradient_is_the_numerical_one(monkeypatch, columns):
    # Several blocks, the last one shorter.
    monkeypatch.setattr("pipelines.learned.normalization.CACHED_VALUES", 70)
    images = torch.randn(
        2, 8, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ).requires_grad_()
    assert torch.autograd.gradcheck(LocalResponseNorm(alpha=0.1, columns=columns), images)


def test_lrn_in_bfloat16_differs_only_in_the_last_bit():
    generator = torch.Generator().manual_seed(0)
    images = (100 * torch.randn(2, 96, 6, 5, generator=generator)).bfloat16()
    upstream = torch.randn(2, 96, 6, 5, generator=generator).bfloat16()
    narrow, exact = images.clone().requires_grad_(), images.float().requires_grad_()
    out, expected = LocalResponseNorm()(narrow), LocalResponseNorm()(exact)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, expected.bfloat16())
    out.backward(upstream)
    expected.backward(upstream.float())
    assert narrow.grad.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.grad.float(), exact.grad, rtol=2**-7, atol=2**-8)


def test_lrn_keeps_channels_last():
    images = torch.randn(2, 8, 3, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    out = LocalResponseNorm()(images)
    out.sum().backward()
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert images.grad.is_contiguous(memory_format=torch.channels_last)


def test_same_map_norm_follows_its_formula():
    images = 100 * torch.randn(1, 2, 5, 4, generator=torch.Generator().manual_seed(0))
    out = SameMapNorm(size=3, scale=5e-5)(images)
    for map_, top, left in ((0, 0, 0), (1, 2, 3), (0, 2, 1), (1, 4, 2)):
        window = images[0, map_, max(0, top - 1) : top + 2, max(0, left - 1) : left + 2]
        expected = images[0, map_, top, left] / (1 + 5e-5 / 9 * window.square().sum()) ** 0.75
        assert out[0, map_, top, left].item() == pytest.approx(expected.item(), rel=1e-5)


def test_same_map_norm_of_bfloat16_is_computed_in_float32():
    norm = SameMapNorm(size=3, scale=5e-5)
    images = (100 * torch.randn(2, 8, 5, 5, generator=torch.Generator().manual_seed(0))).bfloat16()
    narrow, exact = images.clone().requires_grad_(), images.float().requires_grad_()
    out, expected = norm(narrow), norm(exact)
    assert torch.equal(out, expected)
    out.sum().backward()
    expected.sum().backward()
    assert torch.equal(narrow.grad, exact.grad.bfloat16())


def test_batch_norm_is_torchs_layer():
    ours, reference = BatchNorm(3), nn.BatchNorm2d(3)
    noise = BatchNoise(torch.Generator(), 8)
    for seed in range(3):
        images = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(ours(images, noise), reference(images))
    reference.eval()
    torch.testing.assert_close(ours(images, None), reference(images))
