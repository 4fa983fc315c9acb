"""Encoders with a codebook of visual words: bags of words, VLAD, super vectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import vlfeat
from pipelines.handcrafted.encoders.bag_of_words import BagOfWords, SoftBagOfWords
from pipelines.handcrafted.encoders.code_normalization import l2_normalize
from pipelines.handcrafted.encoders.kmeans import Codebook
from pipelines.handcrafted.encoders.super_vector import SuperVector
from pipelines.handcrafted.encoders.vlad import VLAD

WORDS, D = 12, 5


@pytest.fixture
def codebook() -> Codebook:
    return Codebook(torch.randn(WORDS, D, generator=torch.Generator().manual_seed(0)))


@pytest.fixture
def values() -> torch.Tensor:
    """(3, 700, D) descriptors; those of the last image are near few words."""
    values = torch.randn(3, 700, D, generator=torch.Generator().manual_seed(1))
    values[2] = values[2] / 50 + 1
    return values


@pytest.fixture
def regions() -> torch.Tensor:
    """All descriptors, the first third, none."""
    regions = torch.ones(3, 700, dtype=torch.bool)
    regions[1, 233:] = regions[2] = False
    return regions


def squared_distances(values: torch.Tensor, codebook: Codebook) -> np.ndarray:
    """Return squared distances (images, descriptors, words)."""
    return ((values[:, :, None] - codebook.centers).double() ** 2).sum(-1).numpy()


def test_a_bag_of_words_counts_nearest_words(
    codebook: Codebook, values: torch.Tensor, regions: torch.Tensor
) -> None:
    nearest = squared_distances(values, codebook).argmin(-1)
    expected = [
        [np.bincount(image[region], minlength=WORDS) for region in regions.numpy()]
        for image in nearest
    ]
    np.testing.assert_array_equal(BagOfWords(codebook)(values, regions), expected)


def test_soft_votes_follow_the_kernel_over_the_nearest_words(
    codebook: Codebook, values: torch.Tensor, regions: torch.Tensor
) -> None:
    distances = squared_distances(values, codebook)
    kernel = np.exp(-distances / (2 * 0.7**2)) * (distances.argsort(-1).argsort(-1) < 4)
    shares = kernel / kernel.sum(-1, keepdims=True)
    expected = [[image[region].sum(0) for region in regions.numpy()] for image in shares]
    codes = SoftBagOfWords(codebook, 0.7, neighbors=4)(values, regions)
    np.testing.assert_allclose(codes, expected, atol=1e-3)


def test_a_soft_vote_among_all_words_if_there_are_fewer_than_neighbors(
    values: torch.Tensor, regions: torch.Tensor
) -> None:
    codebook = Codebook(torch.randn(2, D, generator=torch.Generator().manual_seed(0)))
    few, as_many = (
        SoftBagOfWords(codebook, 0.7, neighbors=count)(values, regions) for count in (5, 2)
    )
    assert torch.equal(few, as_many)


def test_a_soft_vote_far_from_all_words_is_still_one_vote(codebook: Codebook) -> None:
    votes = SoftBagOfWords(codebook, 1e-3)(
        torch.full((1, 1, D), 100.0), torch.ones(1, 1, dtype=torch.bool)
    )
    torch.testing.assert_close(votes.sum(), torch.tensor(1.0))


@pytest.mark.usefixtures("vlfeat_oracle")
def test_vlad_equals_vl_vlad(
    codebook: Codebook, values: torch.Tensor, regions: torch.Tensor
) -> None:
    codes = l2_normalize(VLAD(codebook)(values, regions))
    assert codes.shape == (3, 3, WORDS * D)
    assert not codes[:, 2].any()
    weights = np.eye(WORDS, dtype=np.float32)[squared_distances(values, codebook).argmin(-1)]
    for region in range(2):
        inside = regions[region].numpy()
        flags = vlfeat.VLAD_ROOT | vlfeat.VLAD_COMPONENTS
        expected = vlfeat.vlad(
            values.numpy()[:, inside], codebook.centers.numpy(), weights[:, inside], flags
        )
        np.testing.assert_allclose(codes[:, region], expected, atol=1e-4)


def test_super_vectors_equal_pooled_hard_codes(
    codebook: Codebook, values: torch.Tensor, regions: torch.Tensor
) -> None:
    constant, centers = 0.3, codebook.centers.double().numpy()
    nearest = squared_distances(values, codebook).argmin(-1)
    expected = np.zeros((3, 3, WORDS, 1 + D))
    for image, region, word in np.ndindex(3, 2, WORDS):
        inside = regions[region].numpy()
        assigned = values[image].double().numpy()[inside & (nearest[image] == word)]
        if len(assigned):
            share = len(assigned) / inside.sum()
            presence = np.full((len(assigned), 1), constant)
            codes = np.concatenate([presence, assigned - centers[word]], axis=1)
            expected[image, region, word] = codes.sum(0) / inside.sum() / np.sqrt(share)
    np.testing.assert_allclose(
        SuperVector(codebook, constant)(values, regions), expected.reshape(3, 3, -1), atol=1e-5
    )
