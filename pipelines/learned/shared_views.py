"""The crops of an image through a network, with the first layers computed once for all of them.

Crops of 224 pixels overlap by more than half, and the first convolution, normalization and pooling
see only a few pixels around a position. They are computed for the whole square, and the maps of a
crop are cut out of its maps. Only the last row and column of maps are a crop's own: there the
convolution reaches past the edge of the crop, where it sees zeros.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import torch
from torch import nn

from pipelines.learned.layers import CeilConv2d
from pipelines.learned.networks.network import Network, apply_layers
from pipelines.learned.normalization import BatchNorm, LocalResponseNorm

Offsets = Sequence[tuple[int, int]]  # (top, left) of crops, in pixels
SHAREABLE = (nn.MaxPool2d, nn.ReLU, nn.Tanh, nn.Sigmoid, LocalResponseNorm, BatchNorm)


def can_share(network: Network, offsets: Offsets) -> bool:
    """Return whether there are several crops whose maps are part of the square's maps.

    The first convolution must not pad the first edge, and positions must meet those of the crops.
    """
    stem, _ = network.split_before_second_convolution()
    convolution, *others = stem
    padded = not isinstance(convolution, CeilConv2d) or convolution.padding != (0, 0)
    if padded or not all(isinstance(layer, SHAREABLE) for layer in others):
        return False
    positions, own = _positions(stem, network.crop), _own_positions(stem, network.crop)
    edge = _positions(stem, network.crop - own * _stride(stem)) if positions > own else 0
    is_aligned = all(offset % _stride(stem) == 0 for offset in chain(*offsets))
    return len(offsets) > 1 and is_aligned and own + edge == positions


def logits_of_crops(
    network: Network, squares: torch.Tensor, offsets: Offsets, *, flips: bool
) -> torch.Tensor:
    """Return (views, N, classes): the logits of each crop, at test time, if `can_share`.

    They are those of the network on each crop, up to the rounding of sums in another order.

    Parameters
    ----------
    network : Network
    squares : (N, 3, side, side) float32
    offsets : sequence of (int, int)
    flips : bool
        Whether the logits of each crop are followed by those of its flip.
    """
    stem, others = network.split_before_second_convolution()
    maps = [_maps_of_crops(stem, squares, offsets, network.crop)]
    if flips:
        far = squares.shape[3] - network.crop
        mirrored = [(top, far - left) for top, left in offsets]
        maps.append(_maps_of_crops(stem, squares.flip(3), mirrored, network.crop))
    logits = apply_layers(others, torch.cat(maps), None)
    by_flip = logits.unflatten(0, (len(maps), len(offsets), len(squares)))
    return by_flip.transpose(0, 1).flatten(0, 1)


def _maps_of_crops(
    stem: Sequence[nn.Module], squares: torch.Tensor, offsets: Offsets, size: int
) -> torch.Tensor:
    """Return (crops * N, channels, height, width): what the layers make of each crop."""
    stride, own = _stride(stem), _own_positions(stem, size)
    maps = apply_layers(stem, squares, None)
    own_offsets = [(top // stride, left // stride) for top, left in offsets]
    own_maps = torch.cat(list(_cut(maps, own_offsets, own)))
    if own == _positions(stem, size):
        return own_maps
    crops = torch.cat(list(_cut(squares, offsets, size)))
    start = own * stride  # of the pixels that the last row and column of maps depend on
    last_rows = apply_layers(stem, crops[:, :, start:], None)
    last_columns = apply_layers(stem, crops[:, :, :, start:], None)
    upper = torch.cat([own_maps, last_columns[:, :, :own]], dim=3)
    return torch.cat([upper, last_rows], dim=2)


def _cut(images: torch.Tensor, offsets: Offsets, size: int) -> Iterator[torch.Tensor]:
    for top, left in offsets:
        yield images[:, :, top : top + size, left : left + size]


def _stride(stem: Sequence[nn.Module]) -> int:
    """Return the pixels per position after the layers."""
    stride = 1
    for layer in stem:
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            stride *= _per_side(layer.stride)
    return stride


def _own_positions(stem: Sequence[nn.Module], size: int) -> int:
    """Return the number of positions per side whose windows lie within `size` pixels."""
    for layer in stem:
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            size = (size - _per_side(layer.kernel_size)) // _per_side(layer.stride) + 1
    return size


def _positions(stem: Sequence[nn.Module], size: int) -> int:
    """Return the number of positions per side, with windows that reach past the far edge."""
    for layer in stem:
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            size = -(-(size - _per_side(layer.kernel_size)) // _per_side(layer.stride)) + 1
    return size


def _per_side(size: int | tuple[int, ...]) -> int:
    return size if isinstance(size, int) else size[0]
