from __future__ import annotations

import torch
from torch.testing import assert_close

from pipelines.handcrafted.encoders.code_normalization import (
    l1_normalize,
    l2_normalize,
    signed_sqrt,
)

CODES = torch.tensor([[4.0, -9.0, 0.0], [0.0, 0.0, 0.0], [-3.0, 4.0, 0.0]])


def test_a_signed_square_root_keeps_the_sign() -> None:
    assert_close(signed_sqrt(CODES)[0], torch.tensor([2.0, -3.0, 0.0]))


def test_normalized_vectors_have_norm_1_and_zero_stays_zero() -> None:
    assert_close(l2_normalize(CODES)[1:], torch.tensor([[0.0, 0.0, 0.0], [-0.6, 0.8, 0.0]]))
    assert_close(l1_normalize(CODES)[1:], torch.tensor([[0.0, 0.0, 0.0], [-3 / 7, 4 / 7, 0.0]]))
    assert_close(l2_normalize(CODES.double() * 1e-6)[2], torch.tensor([-0.6, 0.8, 0.0]).double())
