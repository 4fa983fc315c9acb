"""Normalizations of vectors along the last dimension; the zero vector is left unchanged."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-12


def signed_sqrt(codes: Tensor) -> Tensor:
    """Return sign(x) * sqrt(|x|) of each value x."""
    return codes.sign() * codes.abs().sqrt()


def l2_normalize(codes: Tensor) -> Tensor:
    """Return vectors of Euclidean length 1."""
    return codes / torch.linalg.vector_norm(codes, dim=-1, keepdim=True).clamp(min=EPSILON)


def l1_normalize(codes: Tensor) -> Tensor:
    """Return vectors whose absolute values sum to 1."""
    return codes / codes.abs().sum(-1, keepdim=True).clamp(min=EPSILON)
