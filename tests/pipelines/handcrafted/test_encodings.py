from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch.nn.functional import normalize

from harness.contract import State
from harness.engine.context import RunContext
from pipelines.handcrafted.encoders.kmeans import Codebook
from pipelines.handcrafted.encodings import (
    BagOfWordsEncoding,
    FisherEncoding,
    SuperVectorEncoding,
    VladEncoding,
    rms_distance,
)


@pytest.fixture(scope="module")
def descriptors() -> torch.Tensor:
    """(10, 50, 6): the descriptors of ten images."""
    return torch.randn(10, 50, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def state(descriptors: torch.Tensor) -> State:
    """A mixture of 4 Gaussians."""
    return FisherEncoding(4).fit(descriptors.flatten(0, 1), RunContext())


WHOLE_IMAGE = torch.ones(1, 50, dtype=torch.bool)


def test_intra_normalized_terms_of_each_gaussian_have_equal_length(
    descriptors: torch.Tensor, state: State
) -> None:
    plain, intra = (
        FisherEncoding(4, intra_norm=intra_norm).encode(descriptors, WHOLE_IMAGE, state)
        for intra_norm in (False, True)
    )
    terms = intra.unflatten(1, (8, 6))
    torch.testing.assert_close(terms.norm(dim=2), torch.full((10, 8), 8**-0.5))
    directions = normalize(plain.unflatten(1, (8, 6)), dim=2)
    torch.testing.assert_close(terms * 8**0.5, directions, rtol=1e-3, atol=1e-5)


def test_each_region_of_a_fisher_vector_has_equal_length(
    descriptors: torch.Tensor, state: State
) -> None:
    halves = torch.zeros(2, 50, dtype=torch.bool)
    halves[0, :10] = halves[1, 10:] = True
    regions = FisherEncoding(4).encode(descriptors, halves, state).unflatten(1, (2, -1))
    torch.testing.assert_close(regions.norm(dim=2), torch.full((10, 2), 2**-0.5))


@pytest.mark.parametrize(
    ("encoding", "size"),
    [
        (FisherEncoding(3), 3000),
        (VladEncoding(5), 5000),
        (SuperVectorEncoding(7), 7000),
        (BagOfWordsEncoding(7), 100_000),
    ],
)
def test_the_sample_grows_with_the_codebook_except_for_bags_of_words(
    encoding: FisherEncoding, size: int
) -> None:
    assert encoding.sample_size == size


def test_the_distance_to_words_equals_that_of_scikit_learn(descriptors: torch.Tensor) -> None:
    rows = descriptors.flatten(0, 1)
    distances = NearestNeighbors(n_neighbors=1).fit(rows[:9].numpy()).kneighbors(rows.numpy())[0]
    ours = rms_distance(Codebook(rows[:9]), rows, RunContext())
    assert float(ours) == pytest.approx(np.sqrt((distances**2).mean()), rel=1e-4)


@pytest.mark.parametrize("soft_assignment", [False, True])
def test_bags_of_featureless_images_are_finite(soft_assignment: bool) -> None:
    encoding = BagOfWordsEncoding(3, soft_assignment)
    zeros = torch.zeros(2, 50, 6)
    state = encoding.fit(zeros.flatten(0, 1), RunContext())
    assert encoding.encode(zeros, WHOLE_IMAGE, state).isfinite().all()
