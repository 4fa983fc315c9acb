"""Logits of crops whose first layers are shared are those of the network on each crop."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from pipelines.learned.augmentation import view_offsets, views
from pipelines.learned.networks.alexnet import AlexNetConfig, Shape, alexnet
from pipelines.learned.normalization import LocalResponseNorm
from pipelines.learned.shared_views import can_share, logits_of_crops


def narrow(crop, *, stem=(11, 4, 0), **options):
    """Return a narrow network with the geometry of the full one."""
    shape = Shape(stem=stem, maps=(8, 12, 8, 8, 8), second_kernel=5, hidden=16)
    options = {"norm": partial(LocalResponseNorm, columns=2), **options}
    network = alexnet(AlexNetConfig(**options), shape, crop=crop, num_classes=5)
    network.initialize("he", torch.Generator().manual_seed(0))
    return network


def squares(side, n=3):
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize(
    ("crop", "side", "options"),
    [
        (224, 256, {}),  # the last window of conv1 sees three rows of zeros
        (64, 80, {"order": "code"}),
        (64, 80, {"order": "caffe", "batch_norm": True}),
        (64, 96, {"norm": None, "activation": "tanh"}),
        (67, 83, {}),  # windows end at the edge
        (64, 80, {"pool": "plain"}),
    ],
    ids=str,
)
def test_logits_are_those_of_each_crop(crop, side, options, flips):
    network, images = narrow(crop, **options).double(), squares(side).double()
    offsets = view_offsets(side, crop)
    assert can_share(network, offsets)
    with torch.inference_mode():
        shared = logits_of_crops(network, images, offsets, flips=flips)
        crops = views(images, crop, corners=True, flips=flips)
        expected = torch.stack([network(view) for view in crops])
    assert shared.shape == (10 if flips else 5, 3, 5)
    torch.testing.assert_close(shared, expected, rtol=1e-9, atol=1e-12)
    differences = [(view - expected[0]).abs().max() for view in expected[1:]]
    assert min(differences) > 1e-4


@pytest.mark.parametrize(
    ("network", "offsets"),
    [
        (narrow(224), view_offsets(254, 224)),  # 15 pixels, between positions
        (narrow(64, stem=(5, 2, 2)), view_offsets(80, 64)),  # zeros at the first edge
        (narrow(224), view_offsets(256, 224)[:1]),
    ],
)
def test_other_crops_do_not_share(network, offsets):
    assert not can_share(network, offsets)
