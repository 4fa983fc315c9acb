from __future__ import annotations

import pytest
import torch

from harness.engine.context import RunContext
from pipelines.handcrafted.classifiers.feature_rows import FeatureRows


@pytest.fixture(scope="module")
def features() -> torch.Tensor:
    """(50, 7) features of different scales, far from 0; one is constant."""
    normal = torch.randn(50, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    features = normal * torch.arange(1.0, 8) + 100
    features[:, 3] = 5
    return features


def standardize(features: torch.Tensor) -> torch.Tensor:
    """The rows that `FeatureRows.standardized` stands for."""
    deviation = features.std(0, correction=0)
    scaled = torch.where(deviation > 0, (features - features.mean(0)) / deviation, 0)
    scaled = scaled / (deviation > 0).sum().sqrt()
    return torch.cat([scaled, torch.ones(len(features), 1)], dim=1)


def test_products_are_those_of_the_standardized_rows(features: torch.Tensor) -> None:
    rows = FeatureRows.standardized([features[:20], features[20:]], RunContext())
    expected = standardize(features)
    weights = torch.randn(3, 8, dtype=torch.float64)
    coefficients = torch.randn(50, 3, dtype=torch.float64)
    margins = expected @ weights.T
    torch.testing.assert_close(rows.times(weights), margins)
    torch.testing.assert_close(rows.transposed_times(coefficients), coefficients.T @ expected)
    both = rows.hessian_times(coefficients, weights)
    torch.testing.assert_close(both, (margins, (coefficients * margins).T @ expected))
    torch.testing.assert_close(rows.gram(), expected @ expected.T)


def test_standardized_rows_have_mean_squared_length_1(features: torch.Tensor) -> None:
    sample = FeatureRows.standardized([features], RunContext()).sample(50)
    torch.testing.assert_close(sample[:, :-1].square().sum(1).mean().item(), 1.0)


def test_folded_weights_apply_to_plain_features(features: torch.Tensor) -> None:
    rows = FeatureRows.standardized([features], RunContext())
    weights = torch.randn(3, 8, dtype=torch.float64)
    plain_weights, offsets = rows.fold(weights)
    torch.testing.assert_close(features @ plain_weights.T + offsets, rows.times(weights))


def test_a_sample_is_evenly_spaced_rows(features: torch.Tensor) -> None:
    sample = FeatureRows.standardized([features], RunContext()).sample(10)
    torch.testing.assert_close(sample, standardize(features)[::5])
