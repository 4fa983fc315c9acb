from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors

from harness.engine.context import RunContext
from pipelines.handcrafted.encoders.kmeans import (
    Clusters,
    Codebook,
    assign_to_centers,
    cluster,
    fit_kmeans,
    lloyd,
)


def energy(rows: np.ndarray, codebook: Codebook) -> float:
    distances = NearestNeighbors(n_neighbors=1).fit(codebook.centers.numpy()).kneighbors(rows)[0]
    return float((distances**2).sum())


@pytest.mark.parametrize("words", [1, 8, 50])
def test_the_energy_is_close_to_the_best_of_many_starts_of_scikit_learn(
    rows: np.ndarray, words: int
) -> None:
    codebook = fit_kmeans(torch.from_numpy(rows), words, RunContext())
    best = KMeans(words, n_init=5, random_state=0).fit(rows).inertia_
    assert codebook.centers.shape == (words, 6)
    assert energy(rows, codebook) <= 1.03 * best


def test_iterations_equal_those_of_scikit_learn_from_the_same_centers(rows: np.ndarray) -> None:
    clusters = assign_to_centers(torch.from_numpy(rows), torch.from_numpy(rows[:20]), RunContext())
    ours = lloyd(torch.from_numpy(rows), clusters, RunContext(), iterations=4)
    peer = KMeans(20, init=rows[:20].astype(np.float64), n_init=1, max_iter=5, tol=0).fit(
        rows.astype(np.float64)
    )
    np.testing.assert_allclose(ours.means, peer.cluster_centers_, rtol=1e-5)


def test_clusters_have_the_moments_of_their_rows(rows: np.ndarray) -> None:
    clusters = cluster(torch.from_numpy(rows), 10, RunContext(), iterations=100)
    around = assign_to_centers(torch.from_numpy(rows), clusters.means, RunContext())
    owner = Codebook(clusters.means.float()).nearest(torch.from_numpy(rows)).numpy()
    for word in range(10):
        members = rows[owner == word].astype(np.float64)
        assert around.counts[word] == len(members)
        np.testing.assert_allclose(around.means[word], members.mean(0))
        np.testing.assert_allclose(around.variances[word], members.var(0))
        np.testing.assert_allclose(around.energies[word], ((members - members.mean(0)) ** 2).sum())


def test_the_codebook_does_not_depend_on_the_order_of_rows(rows: np.ndarray) -> None:
    shuffled = np.random.default_rng(1).permutation(rows)
    first, second = (
        fit_kmeans(torch.from_numpy(part), 30, RunContext()).centers for part in (rows, shuffled)
    )
    torch.testing.assert_close(first, second, rtol=0, atol=1e-4)


def test_an_empty_cluster_takes_half_of_the_one_of_greatest_energy() -> None:
    clusters = Clusters(
        torch.tensor([10.0, 0.0, 30.0]).double(),
        torch.tensor([[0.0, 0.0], [9.0, 9.0], [5.0, 5.0]]).double(),
        torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 4.0]]).double(),
    )
    # The mean of the upper half of a normal variable of standard deviation 2.
    half = 2 * (2 / np.pi) ** 0.5
    expected = torch.tensor([[0.0, 0.0], [5.0, 5.0 + half], [5.0, 5.0 - half]]).double()
    torch.testing.assert_close(clusters.centers_after_splits(), expected)


@pytest.mark.parametrize("distinct", [0, 1, 3])
def test_more_words_than_distinct_rows_are_finite_and_contain_the_rows(distinct: int) -> None:
    sample = torch.eye(4)[:distinct].repeat(5, 1)
    codebook = fit_kmeans(sample, 7, RunContext())
    assert codebook.centers.shape == (7, 4)
    assert codebook.centers.isfinite().all()
    torch.testing.assert_close(codebook.centers[codebook.nearest(sample)], sample)


def test_neighbors_equal_those_of_scikit_learn(rows: np.ndarray) -> None:
    codebook = Codebook(torch.from_numpy(rows[:40] - 20))
    images = torch.from_numpy(rows - 20).view(30, 100, 6)
    squares, words = codebook.neighbors(images, 5)
    distances, expected = NearestNeighbors(n_neighbors=5).fit(rows[:40] - 20).kneighbors(rows - 20)
    np.testing.assert_array_equal(words.view(-1, 5), expected)
    np.testing.assert_allclose(squares.view(-1, 5), distances**2, atol=1e-3)
    torch.testing.assert_close(codebook.nearest(images), words[..., 0])
    torch.testing.assert_close(codebook.assign(images).argmax(-1), words[..., 0])
    assert (codebook.assign(images).sum(-1) == 1).all()
