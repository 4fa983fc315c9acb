"""Normalizations of codes, of any shape; vectors lie along the last dimension, and the zero vector stays what it is."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-12


def signed_root(codes: Tensor) -> Tensor:
    """The square root of each value's size, with its sign."""
    return codes.sign() * codes.abs().sqrt()


def unit(codes: Tensor) -> Tensor:
    """Of Euclidean length 1."""
    return codes / torch.linalg.vector_norm(codes, dim=-1, keepdim=True).clamp(min=EPSILON)


def unit_sum(codes: Tensor) -> Tensor:
    """Of sizes that add up to 1."""
    return codes / codes.abs().sum(-1, keepdim=True).clamp(min=EPSILON)
