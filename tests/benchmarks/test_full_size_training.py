"""The split of the benchmark is one batch again and again, wherever an epoch goes on."""

from __future__ import annotations

import numpy as np
import torch
from benchmarks.full_size_steps import BATCH, OneBatch, photographs

from harness.data.split import Split


def test_every_batch_is_the_same_and_the_epoch_goes_on_where_it_was() -> None:
    images = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (6, 3, 8, 8), dtype=np.uint8)
    )
    split = OneBatch(Split.from_arrays(images, np.array([0, 1, 2, 0, 1, 2])), steps=4)
    batches = list(split.shuffled(6, seed=1, epoch=0))
    assert len(split) // 6 == len(batches) == 4
    for batch in batches:
        assert torch.equal(batch.images, images)
        assert split.labels[batch.index].tolist() == [0, 1, 2, 0, 1, 2]
    later = list(split.shuffled(6, seed=1, epoch=0, start=3))
    assert len(later) == 1
    assert torch.equal(later[0].index, batches[3].index)


def test_generated_photographs_fill_a_batch_and_differ() -> None:
    images = photographs(None)
    assert images.shape == (BATCH, 3, 256, 256)
    assert images.dtype == torch.uint8
    assert len(images.flatten(1).unique(dim=0)) == BATCH
