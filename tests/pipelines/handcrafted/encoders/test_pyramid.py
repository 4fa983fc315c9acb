from __future__ import annotations

import torch

from pipelines.handcrafted.encoders.pyramid import append_positions, pyramid_regions


def test_regions_are_ordered_by_grid_and_then_row_by_row() -> None:
    left_top, right_top, left_bottom, right_bottom = (
        (-0.4, -0.3),
        (0.4, -0.3),
        (-0.4, 0.3),
        (0.4, 0.3),
    )
    positions = torch.tensor([left_top, right_top, left_bottom, right_bottom])
    regions = pyramid_regions(positions, [(1, 1), (2, 2), (3, 1)])
    expected = [[0, 1, 2, 3], [0], [1], [2], [3], [0, 1], [], [2, 3]]
    assert [region.nonzero().flatten().tolist() for region in regions] == expected


def test_each_position_is_in_one_cell_of_a_grid_also_at_the_edge() -> None:
    positions = torch.cat(
        [
            torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) - 0.5,
            torch.tensor([[-0.5, -0.5], [0.5, 0.5]]),
        ]
    )
    for grid in [(1, 1), (2, 3), (7, 7)]:
        assert (pyramid_regions(positions, [grid]).sum(0) == 1).all()


def test_without_positions_regions_are_empty() -> None:
    assert pyramid_regions(torch.zeros(0, 2), [(1, 1), (2, 2)]).shape == (5, 0)


def test_positions_are_appended_to_every_image() -> None:
    values, positions = torch.ones(2, 3, 4), torch.tensor([[0.1, 0.2], [0.3, 0.4], [-0.5, 0.5]])
    both = append_positions(values, positions)
    assert both.shape == (2, 3, 6)
    torch.testing.assert_close(both[1, :, 4:], positions)
    torch.testing.assert_close(both[..., :4], values)
