from __future__ import annotations

import torch
from harness.context import RunContext

from pipelines.handcrafted.classifiers.feature_rows import FeatureRows


def generated() -> torch.Tensor:
    rows = (
        torch.randn(50, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        * torch.arange(1.0, 8)
        + 100
    )
    rows[:, 3] = 5  # a constant feature
    return rows


def seen(features: torch.Tensor) -> torch.Tensor:
    """What `FeatureRows.standardized` should stand for."""
    deviation = features.std(0, correction=0)
    scaled = (
        torch.where(deviation > 0, (features - features.mean(0)) / deviation, 0)
        / (deviation > 0).sum().sqrt()
    )
    return torch.cat([scaled, torch.ones(len(features), 1)], dim=1)


def test_products_are_those_of_the_standardized_rows() -> None:
    features = generated()
    rows, wanted = (
        FeatureRows.standardized([features[:20], features[20:]], RunContext()),
        seen(features),
    )
    weights = torch.randn(3, 8, dtype=torch.float64)
    coefficients = torch.randn(50, 3, dtype=torch.float64)
    torch.testing.assert_close(rows.times(weights), wanted @ weights.T)
    torch.testing.assert_close(rows.transposed_times(coefficients), coefficients.T @ wanted)
    torch.testing.assert_close(rows.gram(), wanted @ wanted.T)
    torch.testing.assert_close(wanted[:, :-1].square().sum(1).mean().item(), 1.0)


def test_folded_weights_serve_plain_features() -> None:
    features = generated()
    rows = FeatureRows.standardized([features], RunContext())
    weights = torch.randn(3, 8, dtype=torch.float64)
    plain, offset = rows.fold(weights)
    torch.testing.assert_close(features @ plain.T + offset, rows.times(weights))


def test_a_sample_is_rows() -> None:
    features = generated()
    sample = FeatureRows.standardized([features], RunContext()).sample(10)
    torch.testing.assert_close(sample, seen(features)[::5])
