from __future__ import annotations

import pytest
import torch
from torch import nn

from pipelines.learned.batch_noise import BatchNoise
from pipelines.learned.layers import CeilConv2d, Dropout, Local2d


def test_dropout_does_not_scale_in_training_and_halves_at_test_time():
    units = torch.full((64, 500), 3.0)
    dropout = Dropout(0.5)
    training = dropout(units, BatchNoise(torch.Generator().manual_seed(0), 64))
    assert set(training.flatten().tolist()) == {0.0, 3.0}
    assert (training == 0).float().mean().item() == pytest.approx(0.5, abs=0.01)
    assert torch.equal(dropout(units, None), torch.full_like(units, 1.5))


def test_dropout_drops_the_given_share():
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


def test_a_local_layer_has_weights_per_position():
    layer = Local2d(channels=2, maps=3, kernel=3, side=4)
    generator = torch.Generator().manual_seed(0)
    nn.init.normal_(layer.weight, generator=generator)
    nn.init.normal_(layer.bias, generator=generator)
    images = torch.randn(5, 2, 4, 4, generator=generator)
    out, padded = layer(images), nn.functional.pad(images, (1, 1, 1, 1))
    for top, left in ((0, 0), (1, 3), (3, 2)):
        window = padded[:, :, top : top + 3, left : left + 3].flatten(1)
        expected = window @ layer.weight[4 * top + left] + layer.bias[:, top, left]
        torch.testing.assert_close(out[:, :, top, left], expected)


def test_a_local_layer_with_equal_weights_is_a_convolution():
    conv = nn.Conv2d(2, 3, 3, padding=1)
    layer = Local2d(channels=2, maps=3, kernel=3, side=4)
    with torch.no_grad():
        layer.weight.copy_(conv.weight.flatten(1).T.expand_as(layer.weight))
        layer.bias.copy_(conv.bias[:, None, None].expand_as(layer.bias))
    images = torch.randn(5, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(layer(images), conv(images), rtol=1e-4, atol=1e-5)


def test_two_processes_draw_the_noise_of_one():
    whole = BatchNoise(torch.Generator().manual_seed(5), 8)
    shares = [
        BatchNoise(torch.Generator().manual_seed(5), 8, rank=rank, world_size=2) for rank in (0, 1)
    ]
    for draw in (lambda n: n.uniform(3), lambda n: n.normal(2), lambda n: n.integers(9, 1)):
        expected = draw(whole)
        for rank, share in enumerate(shares):
            assert torch.equal(draw(share), expected[rank::2])
