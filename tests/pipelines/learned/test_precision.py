from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from harness.engine.context import RunContext
from pipelines.alexnet import build
from pipelines.learned import precision
from pipelines.learned.noise import BatchNoise
from pipelines.learned.precision import mixed_precision, mixes, wide
from tests.pipelines.learned.test_parallel import split

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
def test_a_cpu_mixes_where_it_multiplies_bfloat16_in_hardware(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert mixes(CPU, "auto") is expected
    assert not mixes(CPU, "float32")


@pytest.fixture
def bfloat16(monkeypatch):
    """Products in bfloat16, in software where the processor has none."""
    monkeypatch.setattr(precision, "mixes", lambda device, chosen: chosen == "auto")


def test_products_are_mixed_and_float32_on_demand(bfloat16):
    layer = torch.nn.Linear(8, 8)
    with mixed_precision(CPU, "auto"):
        assert layer(torch.randn(2, 8)).dtype == torch.bfloat16
    with mixed_precision(CPU, "float32"):
        assert layer(torch.randn(2, 8)).dtype == torch.float32


def test_wide_leaves_float64_alone():
    assert [wide(torch.ones(1, dtype=dtype)).dtype for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64)] == [
        torch.float32, torch.float32, torch.float32, torch.float64,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "options", [{}, {"batch_norm": True, "order": "code"}, {"activation": "tanh", "columns": 1}]
)
def test_mixed_gradients_point_where_float32_ones_do(bfloat16, options):
    network = build(**options).design.network(classes=3, side=32)
    network.initialize("he", torch.Generator().manual_seed(0))
    images = torch.randn(
        32, 3, network.crop, network.crop, generator=torch.Generator().manual_seed(1)
    )
    gradients = {}
    for chosen in ("auto", "float32"):
        network.zero_grad()
        with mixed_precision(CPU, chosen):
            logits = wide(
                network(images, BatchNoise(torch.Generator().manual_seed(2), len(images)))
            )
        F.cross_entropy(logits, torch.arange(len(images)) % 3).backward()
        # Of weights: a bias before batch normalization has no gradient.
        gradients[chosen] = [
            weights.grad.flatten() for weights in network.parameters() if weights.ndim > 1
        ]
    for mixed, exact in zip(gradients["auto"], gradients["float32"], strict=True):
        assert mixed.dtype == torch.float32
        assert (
            F.cosine_similarity(mixed, exact, dim=0) > 0.9
        )  # of a few images of noise: errors add up to the first layer
        assert not torch.equal(mixed, exact)


def test_what_is_kept_of_mixed_training_is_float32(bfloat16):
    pipeline, context = build(epochs=1, views=1, flip=True), RunContext()
    pipeline.fit(split(32), None, context)
    assert torch.bfloat16 not in {array.dtype for array in pipeline.state().values()}
