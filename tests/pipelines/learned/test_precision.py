from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from harness.engine.context import RunContext
from pipelines.alexnet import build
from pipelines.learned import precision
from pipelines.learned.augmentation import PixelStatistics
from pipelines.learned.batch_noise import BatchNoise
from pipelines.learned.precision import (
    at_least_float32,
    evaluation_precision,
    mixed_precision,
    uses_bfloat16,
)
from tests.pipelines.learned.synthetic_splits import tinted_split

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
        ({"avx512_f": True}, False),
        ({}, False),
    ],
)
def test_a_cpu_uses_bfloat16_if_it_has_it_in_hardware(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert uses_bfloat16(CPU, "auto") is expected
    assert not uses_bfloat16(CPU, "float32")
    assert uses_bfloat16(CPU, "bfloat16")


@pytest.fixture
def bfloat16(monkeypatch):
    """Use bfloat16 on every machine, in software if need be."""
    monkeypatch.setattr(precision, "uses_bfloat16", lambda device, chosen: chosen == "auto")


def test_products_are_in_bfloat16_or_float32_on_demand(bfloat16):
    layer = torch.nn.Linear(8, 8)
    with mixed_precision(CPU, "auto"):
        assert layer(torch.randn(2, 8)).dtype == torch.bfloat16
    with mixed_precision(CPU, "float32"):
        assert layer(torch.randn(2, 8)).dtype == torch.float32


def test_test_images_are_scored_in_bfloat16_only_on_demand():
    layer = torch.nn.Linear(8, 8)
    for chosen, dtype in (
        ("auto", torch.float32),
        ("float32", torch.float32),
        ("bfloat16", torch.bfloat16),
    ):
        with evaluation_precision(CPU, chosen):
            assert layer(torch.randn(2, 8)).dtype == dtype


def test_precision_bfloat16_scores_close_to_float32():
    scores = {}
    for chosen in ("float32", "bfloat16"):
        pipeline = build(precision=chosen, flip=True)
        pipeline.network = pipeline.design.network(3, 32)
        pipeline.network.initialize("he", torch.Generator().manual_seed(0))
        mean = torch.full((3, 32, 32), 50.0)
        pipeline.pixels = PixelStatistics(mean, torch.eye(3), torch.ones(3))
        scores[chosen] = pipeline.scores(next(tinted_split(12).batches(12)))
    assert scores["bfloat16"].dtype == torch.float32
    assert 0 < (scores["bfloat16"] - scores["float32"]).abs().max() < 0.1
    torch.testing.assert_close(scores["bfloat16"].exp().sum(1), torch.ones(12))


def test_narrow_types_become_float32_and_float64_stays():
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        assert at_least_float32(torch.ones(1, dtype=dtype)).dtype == torch.float32
    assert at_least_float32(torch.ones(1, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize(
    "options", [{}, {"batch_norm": True, "order": "code"}, {"activation": "tanh", "columns": 1}]
)
def test_bfloat16_gradients_point_in_the_direction_of_float32_ones(bfloat16, options):
    network = build(**options).design.network(3, 32)
    network.initialize("he", torch.Generator().manual_seed(0))
    images = torch.randn(
        32, 3, network.crop, network.crop, generator=torch.Generator().manual_seed(1)
    )
    gradients = {}
    for chosen in ("auto", "float32"):
        network.zero_grad()
        with mixed_precision(CPU, chosen):
            logits = at_least_float32(
                network(images, BatchNoise(torch.Generator().manual_seed(2), len(images)))
            )
        F.cross_entropy(logits, torch.arange(len(images)) % 3).backward()
        # Weights only: a bias before batch normalization has no gradient.
        gradients[chosen] = [
            weights.grad.flatten() for weights in network.parameters() if weights.ndim > 1
        ]
    for mixed, exact in zip(gradients["auto"], gradients["float32"], strict=True):
        assert mixed.dtype == torch.float32
        assert F.cosine_similarity(mixed, exact, dim=0) > 0.9
        assert not torch.equal(mixed, exact)


def test_the_state_after_bfloat16_training_is_float32(bfloat16):
    pipeline, context = build(epochs=1, views=1, flip=True), RunContext()
    pipeline.fit(tinted_split(32), None, context)
    assert torch.bfloat16 not in {array.dtype for array in pipeline.state().values()}
