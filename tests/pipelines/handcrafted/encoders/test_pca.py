from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import decomposition

from harness.engine.context import RunContext
from pipelines.handcrafted.encoders.pca import fit_pca


def test_directions_equal_those_of_scikit_learn_up_to_signs(rows: np.ndarray) -> None:
    pca = fit_pca(torch.from_numpy(rows), 4, RunContext())
    peer = decomposition.PCA(4, svd_solver="full").fit(rows.astype(np.float64))
    np.testing.assert_allclose(pca.mean, peer.mean_, rtol=1e-5)
    np.testing.assert_allclose(pca.projection.abs(), np.abs(peer.components_), atol=1e-5)
    images = torch.from_numpy(rows).view(30, 100, 6)
    assert pca(images).shape == (30, 100, 4)
    np.testing.assert_allclose(
        pca(images).flatten(0, 1).abs(), np.abs(peer.transform(rows)), atol=1e-3
    )


def test_the_largest_entry_of_each_direction_is_positive(rows: np.ndarray) -> None:
    projection = fit_pca(torch.from_numpy(rows), 6, RunContext()).projection
    assert (projection.amax(1) == projection.abs().amax(1)).all()


@pytest.mark.parametrize("share", [0.0, 0.01])
def test_whitened_variances_are_those_of_vlfeat(rows: np.ndarray, share: float) -> None:
    projected = fit_pca(torch.from_numpy(rows), 6, RunContext(), whiten=share)(
        torch.from_numpy(rows)
    ).double()
    variances = np.linalg.eigvalsh(np.cov(rows.T.astype(np.float64), bias=True))[::-1]
    expected = np.diag(variances / (variances + share * variances[0]))
    np.testing.assert_allclose(np.cov(projected.T, bias=True), expected, atol=1e-4)


@pytest.mark.parametrize(
    "sample", [torch.zeros(0, 5), torch.ones(1, 5), torch.ones(9, 5)], ids=["none", "one", "equal"]
)
def test_rows_without_variance_give_finite_directions(sample: torch.Tensor) -> None:
    pca = fit_pca(sample, 8, RunContext(), whiten=0.01)
    assert pca.projection.shape == (5, 5)
    assert pca.projection.isfinite().all()
    assert pca(torch.ones(2, 3, 5)).isfinite().all()
