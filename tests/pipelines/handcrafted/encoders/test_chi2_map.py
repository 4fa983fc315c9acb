from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.kernel_approximation import AdditiveChi2Sampler

from benchmarks import vlfeat
from pipelines.handcrafted.encoders.chi2_map import Chi2Map

SIZES = np.r_[np.random.default_rng(0).uniform(0, 1, 300), 1e-3, 1e-4, 1.0].astype(np.float32)


def mapped(sizes: np.ndarray, order: int, gamma: float) -> np.ndarray:
    """(count, 2 order + 1) for histograms of one bin."""
    return Chi2Map(order, gamma)(torch.from_numpy(sizes)[:, None]).numpy()


@pytest.mark.usefixtures("vlfeat_oracle")
@pytest.mark.parametrize(("order", "gamma"), [(1, 0.5), (1, 1.0), (3, 1.0), (2, 0.7)])
def test_the_map_equals_vl_homkermap(order: int, gamma: float) -> None:
    signed = np.r_[SIZES, -SIZES, 0].astype(np.float32)
    # VLFeat interpolates in a table.
    np.testing.assert_allclose(
        mapped(signed, order, gamma), vlfeat.chi2_map(signed, order=order, gamma=gamma), atol=5e-4
    )


@pytest.mark.parametrize(("order", "error"), [(1, 0.03), (3, 0.01), (8, 0.002)])
def test_inner_products_approximate_the_chi2_kernel(order: int, error: float) -> None:
    features = mapped(SIZES, order, 1.0)
    x, y = SIZES[:, None], SIZES[None]
    np.testing.assert_allclose(features @ features.T, 2 * x * y / (x + y), atol=error)


def test_gamma_is_the_degree_of_homogeneity() -> None:
    products = mapped(SIZES, 8, 0.5) @ mapped(SIZES, 8, 0.5).T
    x, y = SIZES[:, None].astype(np.float64), SIZES[None].astype(np.float64)
    close = np.abs(np.log(x / y)) < 4  # the period of the map bounds the ratios it resolves
    expected = (x * y) ** 0.25 / np.cosh(np.log(x / y) / 2)
    np.testing.assert_allclose(products[close], expected[close], atol=0.01)


def test_waves_are_those_of_scikit_learn_up_to_their_scale() -> None:
    """scikit-learn has another window, which changes only the scale of a wave."""
    step = float(2 * np.pi / (8.80 * np.sqrt(2 + 4.44) - 12.6))
    theirs = AdditiveChi2Sampler(sample_steps=3, sample_interval=step).fit_transform(SIZES[:, None])
    ours = mapped(SIZES, 2, 1.0)
    scales = (ours * theirs).sum(0) / (theirs**2).sum(0)
    np.testing.assert_allclose(ours, theirs * scales, atol=1e-5)
    np.testing.assert_allclose(scales, 1, atol=0.25)


def test_the_values_of_a_bin_are_adjacent() -> None:
    histograms = torch.tensor([[[0.2, 0.0, 0.7]]])
    features = Chi2Map(1, 0.5)(histograms)
    assert features.shape == (1, 1, 9)
    np.testing.assert_allclose(
        features[0, 0].view(3, 3), mapped(histograms.flatten().numpy(), 1, 0.5), atol=1e-7
    )
    assert not features[0, 0, 3:6].any()
