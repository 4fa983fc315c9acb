"""Pooling over regions, chunks and images, with the Fisher vector as the encoder."""

from __future__ import annotations

import pytest
import torch

from pipelines.handcrafted.encoders.fisher import FisherVector
from pipelines.handcrafted.encoders.gmm import GMM
from pipelines.handcrafted.encoders.pooling import CHUNK_ROWS, split_into_pieces
from pipelines.handcrafted.encoders.pyramid import pyramid_regions


@pytest.fixture
def encoder() -> FisherVector:
    random = torch.Generator().manual_seed(0)
    means, variances = torch.randn(5, 3, generator=random), torch.rand(5, 3, generator=random) + 0.5
    return FisherVector(GMM(means, variances, torch.full((5,), 0.2)))


def random_descriptors(images: int, descriptors: int) -> torch.Tensor:
    return torch.randn(images, descriptors, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("images", "descriptors"), [(3, 2 * CHUNK_ROWS + 7), (40, 9), (2, CHUNK_ROWS), (1, 1)]
)
def test_the_code_of_a_region_depends_on_its_descriptors_alone(
    encoder: FisherVector, images: int, descriptors: int
) -> None:
    values = random_descriptors(images, descriptors)
    regions = (
        torch.rand(6, descriptors, generator=torch.Generator().manual_seed(2)) < 0.4
    )  # overlapping, with gaps
    regions[4], regions[5] = True, False
    codes = encoder(values, regions)
    assert codes.shape == (images, 6, encoder.length)
    assert not codes[:, 5].any()
    for region in range(5):
        inside = values[:, regions[region]]
        alone = encoder(inside, torch.ones(1, inside.shape[1], dtype=torch.bool))
        torch.testing.assert_close(codes[:, region], alone[:, 0], rtol=1e-4, atol=1e-5)


def test_the_codes_of_an_image_do_not_depend_on_other_images(encoder: FisherVector) -> None:
    values, regions = random_descriptors(40, 9), torch.ones(1, 9, dtype=torch.bool)
    singly = torch.cat([encoder(image[None], regions) for image in values])
    torch.testing.assert_close(encoder(values, regions), singly)


@pytest.mark.parametrize(("images", "descriptors"), [(4, 0), (0, 7), (0, 0)])
def test_without_images_or_descriptors_codes_are_zero(
    encoder: FisherVector, images: int, descriptors: int
) -> None:
    codes = encoder(
        random_descriptors(images, descriptors), torch.ones(2, descriptors, dtype=torch.bool)
    )
    assert codes.shape == (images, 2, encoder.length)
    assert not codes.any()


def test_pieces_of_nested_grids_are_the_finest_cells() -> None:
    positions = torch.rand(500, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    # More regions than bits in an integer.
    regions = pyramid_regions(positions, [(1, 1), (2, 2), (4, 4), (8, 8)])
    order, piece_of, members = split_into_pieces(regions)
    assert sorted(order.tolist()) == list(range(500))
    assert (piece_of.diff() >= 0).all()
    assert members.shape == (85, len(piece_of.unique()))
    assert (members.sum(0) == 4).all()  # each piece lies in one cell of each grid
    torch.testing.assert_close(members[:, piece_of], regions[:, order])


def test_descriptors_outside_all_regions_are_in_no_piece() -> None:
    regions = torch.tensor([[True, False, False, True], [False, False, True, True]])
    order, piece_of, members = split_into_pieces(regions)
    assert sorted(order.tolist()) == [0, 2, 3]
    torch.testing.assert_close(members[:, piece_of], regions[:, order])
