from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from harness.engine.context import RunContext
from pipelines.handcrafted.classifiers.feature_rows import FeatureRows
from pipelines.handcrafted.classifiers.loss import Loss
from pipelines.handcrafted.classifiers.row_stream import RowStream


class Chunks:
    """Stands in for `features.Features`: row i has the values i + 1 and 7, and the label i % 3."""

    quantizer = None

    def __init__(self, sizes: list[int], first: int = 0) -> None:
        values = torch.arange(first + 1.0, first + sum(sizes) + 1)
        self.rows = torch.stack([values, torch.full_like(values, 7)], dim=1).split(sizes)
        self.labels = ((values.long() - 1) % 3).split(sizes)

    def __len__(self) -> int:
        return len(self.rows)

    def chunk_rows(self, index: int) -> int:
        return len(self.rows[index])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"features": self.rows[index], "labels": self.labels[index]}

    stored = __getitem__

    def decode(self, stored: dict[str, Tensor]) -> dict[str, Tensor]:
        return stored


@pytest.fixture
def stream() -> RowStream:
    splits: list[Any] = [Chunks([300, 300, 50]), Chunks([200], first=650)]
    return RowStream(splits, 3, RunContext())


@pytest.mark.parametrize("shuffled_chunks", [1, 3, 8])
def test_an_epoch_has_each_row_once_with_its_index_and_label(
    stream: RowStream, shuffled_chunks: int
) -> None:
    batches = list(stream.epoch(0, shuffled_chunks=shuffled_chunks))
    rows = torch.cat([batch.rows for batch in batches])
    indices = torch.cat([batch.indices for batch in batches])
    assert sorted(indices.tolist()) == list(range(850)) == list(range(stream.rows))
    assert torch.equal(rows[:, 0], indices + 1.0)
    assert rows[:, 1].unique().tolist() == [7]
    assert rows[:, 2].unique().tolist() == [1]
    assert torch.equal(torch.cat([batch.labels for batch in batches]), indices % 3)


def test_each_epoch_has_another_order_and_mixes_the_chunks_of_a_group(stream: RowStream) -> None:
    first, second = (
        torch.cat([batch.indices for batch in stream.epoch(number, shuffled_chunks=4)])
        for number in range(2)
    )
    assert not torch.equal(first, second)
    assert len((first[:128] // 300).unique()) == 3


def test_standardized_rows_are_those_of_rows_in_memory(stream: RowStream) -> None:
    splits = stream.features  # type: ignore[attr-defined]
    rows = torch.cat([part["features"] for split in splits for part in split])
    expected = FeatureRows.standardized([rows], RunContext())
    batches = list(stream.standardized().epoch(0))
    order = torch.cat([batch.indices for batch in batches]).argsort()
    ours = torch.cat([batch.rows for batch in batches])[order]
    torch.testing.assert_close(ours, expected.sample(850))


def test_the_total_loss_is_that_of_the_standardized_rows(stream: RowStream) -> None:
    standardized = stream.standardized()
    weights = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    expected = sum(
        float(Loss().total(batch.rows @ weights.T, batch.labels, 2.0))
        for batch in standardized.epoch(0)
    )
    assert standardized.total_loss(weights, Loss(), 2.0) == pytest.approx(expected, rel=1e-5)
