from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from benchmarks import vlfeat
from harness.engine.context import RunContext
from pipelines.handcrafted.encoders.gmm import (
    GMM,
    expectation,
    fit_gmm,
    maximization,
    mixture_from_moments,
)

FLOOR = 1e-6


def start(rows: np.ndarray, components: int = 8) -> GMM:
    """Return a mixture with its means on some of the rows."""
    variances = torch.from_numpy(rows).var(0).expand(components, -1).contiguous()
    return GMM(
        torch.from_numpy(rows[:components]).clone(),
        variances,
        torch.full((components,), 1 / components),
    )


def scikit_learn_mixture(gmm: GMM, iterations: int) -> GaussianMixture:
    """Return scikit-learn's mixture that starts EM from these parameters."""
    return GaussianMixture(
        len(gmm.weights),
        covariance_type="diag",
        reg_covar=0,
        tol=0,
        max_iter=iterations,
        weights_init=gmm.weights.double().numpy(),
        means_init=gmm.means.double().numpy(),
        precisions_init=1 / gmm.variances.double().numpy(),
    )


def iterate(gmm: GMM, rows: np.ndarray, iterations: int) -> tuple[GMM, float]:
    """Return the mixture after this many EM iterations and its log-likelihood."""
    for _ in range(iterations):
        masses, sums, _ = expectation(gmm, torch.from_numpy(rows), RunContext())
        gmm = maximization(gmm, masses, sums, FLOOR)
    return gmm, expectation(gmm, torch.from_numpy(rows), RunContext())[2]


@pytest.mark.filterwarnings("ignore:.*did not converge")
def test_em_iterations_equal_those_of_scikit_learn(rows: np.ndarray) -> None:
    ours, likelihood = iterate(start(rows), rows, 10)
    theirs = scikit_learn_mixture(start(rows), 10).fit(rows.astype(np.float64))
    np.testing.assert_allclose(ours.means, theirs.means_, rtol=1e-4)
    np.testing.assert_allclose(ours.variances, theirs.covariances_, rtol=1e-3)
    np.testing.assert_allclose(ours.weights, theirs.weights_, rtol=1e-3)
    np.testing.assert_allclose(
        likelihood, theirs.score(rows.astype(np.float64)) * len(rows), rtol=1e-5
    )


@pytest.mark.usefixtures("vlfeat_oracle")
def test_em_iterations_equal_those_of_vlfeat(rows: np.ndarray) -> None:
    gmm = start(rows)
    ours, likelihood = iterate(gmm, rows, 5)
    means, variances, weights, theirs = vlfeat.gmm(
        rows,
        *(part.numpy() for part in (gmm.means, gmm.variances, gmm.weights)),
        iterations=5,
        min_variance=FLOOR,
    )
    # vl_gmm leaves posteriors below 0.01 / components out of its sums.
    np.testing.assert_allclose(ours.means, means, rtol=1e-3)
    np.testing.assert_allclose(ours.variances, variances, rtol=3e-2)
    np.testing.assert_allclose(ours.weights, weights, rtol=5e-3)
    np.testing.assert_allclose(likelihood, theirs, rtol=1e-4)


def test_posteriors_are_accurate_far_from_0(rows: np.ndarray) -> None:
    far = rows + np.float32(1000)
    gmm = iterate(start(rows), rows, 3)[0]
    gmm = GMM(gmm.means + 1000, gmm.variances, gmm.weights)
    theirs = scikit_learn_mixture(gmm, 1)
    theirs.weights_, theirs.means_, theirs.precisions_cholesky_ = (
        part.double().numpy() for part in (gmm.weights, gmm.means, gmm.variances.rsqrt())
    )
    ours = gmm.log_joint(gmm.moments(torch.from_numpy(far))).softmax(-1)
    np.testing.assert_allclose(ours, theirs.predict_proba(far.astype(np.float64)), atol=1e-4)


# A start from 8 rows may miss one of the 8 clusters.
@pytest.mark.parametrize(("components", "start_from_rows"), [(8, False), (20, False), (20, True)])
def test_a_fit_is_as_likely_as_the_best_of_many_starts(
    rows: np.ndarray, components: int, start_from_rows: bool
) -> None:
    rows = np.random.default_rng(0).permutation(rows)
    gmm = fit_gmm(torch.from_numpy(rows), components, RunContext(), start_from_rows=start_from_rows)
    ours = expectation(gmm, torch.from_numpy(rows), RunContext())[2] / len(rows)
    best = (
        GaussianMixture(components, covariance_type="diag", n_init=3, random_state=0)
        .fit(rows)
        .score(rows)
    )
    assert ours >= best - 0.05  # nats per row


def test_variances_have_a_floor() -> None:
    sample = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [10.0, 1.0, 0.0]
    )
    variances = fit_gmm(sample, 4, RunContext()).variances
    torch.testing.assert_close(
        variances[:, 2], torch.full((4,), 1e-4 * float(sample[:, 0].var(correction=0)))
    )


@pytest.mark.parametrize("start_from_rows", [False, True])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_fit_with_more_components_than_rows_is_finite(count: int, start_from_rows: bool) -> None:
    sample = torch.randn(count, 3, generator=torch.Generator().manual_seed(0))
    gmm = fit_gmm(sample, 8, RunContext(), start_from_rows=start_from_rows)
    assert all(part.isfinite().all() for part in (gmm.means, gmm.variances, gmm.weights))
    torch.testing.assert_close(gmm.weights.sum(), torch.tensor(1.0))
    assert gmm.log_joint(gmm.moments(torch.randn(4, 3))).softmax(-1).isfinite().all()


def test_an_empty_component_takes_half_of_a_heavy_one_in_many_dimensions() -> None:
    """Entropies are negative there, and the largest is that of the lightest component."""
    means = torch.arange(4.0).double()[:, None].expand(4, 80)
    gmm = mixture_from_moments(
        torch.tensor([1000.0, 500, 20, 0]).double(),
        means,
        torch.full((4, 80), 1e-3).double(),
        FLOOR,
    )
    torch.testing.assert_close(gmm.weights, torch.tensor([500.0, 500, 20, 500]) / 1520)
    assert (gmm.means[[1, 2]] == means[[1, 2]].float()).all()


def test_an_empty_component_takes_half_of_the_one_with_the_largest_spread() -> None:
    masses = torch.tensor([50.0, 0.0, 50.0]).double()
    means = torch.tensor([[0.0, 0.0], [7.0, 7.0], [5.0, 5.0]]).double()
    variances = torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 4.0]]).double()
    gmm = mixture_from_moments(masses, means, variances, FLOOR)
    # The mean of the upper half of a normal variable of standard deviation 2.
    half = 2 * math.sqrt(2 / math.pi)
    torch.testing.assert_close(gmm.weights, torch.tensor([0.5, 0.25, 0.25]))
    torch.testing.assert_close(
        gmm.means, torch.tensor([[0.0, 0.0], [5.0, 5.0 - half], [5.0, 5.0 + half]])
    )
    torch.testing.assert_close(
        gmm.variances, torch.tensor([[1.0, 1.0], [1.0, 4 - half**2], [1.0, 4 - half**2]])
    )
