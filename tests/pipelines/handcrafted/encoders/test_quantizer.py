from __future__ import annotations

import torch
from sklearn.cluster import KMeans

from harness.engine.context import RunContext
from pipelines.handcrafted.encoders.quantizer import ProductQuantizer, fit_quantizer


def rows(n: int, features: int) -> torch.Tensor:
    return torch.randn(n, features, generator=torch.Generator().manual_seed(0))


def squared_error(quantizer: ProductQuantizer, sample: torch.Tensor) -> float:
    return float((quantizer.decode(quantizer.encode(sample)) - sample).square().sum())


def test_a_byte_is_the_index_of_the_nearest_center_of_its_group() -> None:
    sample = rows(600, 20)  # two groups of 8 and one of 4
    quantizer = fit_quantizer(sample, RunContext())
    codes = quantizer.encode(sample)
    assert codes.shape == (600, 3)
    assert codes.dtype == torch.uint8
    decoded = quantizer.decode(codes)
    assert decoded.shape == sample.shape
    for group in range(2):
        values, centers = sample[:, 8 * group : 8 * group + 8], quantizer.centers[group]
        assert torch.equal(
            decoded[:, 8 * group : 8 * group + 8], centers[torch.cdist(values, centers).argmin(1)]
        )


def test_the_error_is_that_of_k_means_of_scikit_learn_in_each_group() -> None:
    sample = rows(3000, 16)
    theirs = sum(
        KMeans(256, init=half[:256], n_init=1, max_iter=15).fit(half).inertia_
        for half in sample.numpy().reshape(-1, 2, 8).swapaxes(0, 1)
    )
    assert squared_error(fit_quantizer(sample, RunContext()), sample) <= 1.01 * theirs


def test_rows_that_are_centers_are_decoded_exactly() -> None:
    sample = rows(100, 24)
    assert squared_error(fit_quantizer(sample, RunContext()), sample) < 1e-9


def test_zero_rows_stay_zero() -> None:
    sample = torch.cat([torch.zeros(1, 8), rows(300, 8)])
    quantizer = fit_quantizer(sample, RunContext())
    assert quantizer.decode(quantizer.encode(torch.zeros(2, 8))).abs().max() == 0
