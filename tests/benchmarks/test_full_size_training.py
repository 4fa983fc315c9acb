"""One batch repeats, wherever an epoch resumes; the report judges what two processes printed."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.full_size_training import BATCH, OneBatch, ProcessLog, load_photographs, report
from harness.data.split import Split


def test_every_batch_is_the_same_and_the_epoch_resumes_where_it_was() -> None:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (6, 3, 8, 8), dtype=np.uint8))
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
    images = load_photographs(None)
    assert images.shape == (BATCH, 3, 256, 256)
    assert images.dtype == torch.uint8
    assert len({image.numpy().tobytes() for image in images}) == BATCH


def log_of(*lines: str) -> ProcessLog:
    log = ProcessLog()
    for line in lines:
        log.add(line)
    return log


def test_lines_of_a_process_are_recorded() -> None:
    log = log_of("epoch 1", "step 1 6.9 0.50 1000", "a loss no better than guesses")
    assert log.losses == {1: 6.9}
    assert log.seconds == {1: 0.5}
    assert log.peak_bytes == 1000
    assert log.warned


def test_the_report_requires_equal_losses_and_a_falling_loss() -> None:
    killed = log_of("step 1 6.9 0.5 1000", "step 2 6.8 0.5 1000")
    assert report(killed, log_of("step 2 6.8 0.5 1000", "step 3 1.0 0.5 2000"), half=1)
    assert not report(killed, log_of("step 2 6.7 0.5 1000", "step 3 1.0 0.5 2000"), half=1)
    assert not report(killed, log_of("step 2 6.8 0.5 1000", "step 3 9.9 0.5 2000"), half=1)
    assert not report(killed, log_of("step 2 6.8 0.5 1000", "step 3 1.0 0.5 5000000000"), half=1)
