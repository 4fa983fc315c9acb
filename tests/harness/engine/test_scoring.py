"""Scores of a split: order, images that cannot be decoded, wrong shapes, progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from harness import Split, UserError
from harness.engine.distributed import SINGLE_PROCESS
from harness.engine.observer import RunObserver
from harness.engine.scoring import SCORE_BATCH, equal_scores_note, score
from harness.runs.result import Scores

N, CLASSES = 300, 3


@pytest.fixture(scope="module")
def split() -> Split:
    images = np.arange(N * 16 * 3, dtype=np.int64).reshape(N, 4, 4, 3).astype(np.uint8)
    return Split.from_arrays(images, np.arange(N) % CLASSES, class_names=list("abc"))


class FirstPixel:
    """Scores every class by the first pixel of the image; counts the calls."""

    def __init__(self) -> None:
        self.batch_sizes: list[int] = []

    def scores(self, batch: Any) -> torch.Tensor:
        self.batch_sizes.append(len(batch))
        return batch.images[:, 0, 0, :1].double().expand(-1, CLASSES)


class Recorder(RunObserver):
    def __init__(self) -> None:
        self.details: dict[str, Any] = {}

    def progress(self, items: Iterable[Any], **details: Any) -> Iterator[Any]:
        self.details = details
        return iter(items)


def test_scores_are_in_the_order_of_the_split(split: Split) -> None:
    scores, usage = score(
        FirstPixel(), split, SINGLE_PROCESS, observer=RunObserver(), label="scoring"
    )
    (whole,) = split.batches(N, order=np.arange(N))
    assert np.array_equal(scores.scores[:, 0], whole.images[:, 0, 0, 0].numpy())
    assert np.array_equal(scores.labels, split.labels)
    assert np.array_equal(scores.keys, split.keys)
    assert scores.scores.dtype == np.float32
    assert usage.seconds > 0


def test_images_that_cannot_be_decoded_get_minus_infinity(split: Split) -> None:
    damaged = split.take(np.arange(10))
    damaged.rows[[0, 7]] = -1
    pipeline = FirstPixel()
    scores, _ = score(pipeline, damaged, SINGLE_PROCESS, observer=RunObserver(), label="scoring")
    assert np.flatnonzero(np.isneginf(scores.scores).all(axis=1)).tolist() == [0, 7]
    assert pipeline.batch_sizes == [8, 8]  # the warm-up, then all


def test_the_display_knows_the_number_of_batches(split: Split) -> None:
    observer, pipeline = Recorder(), FirstPixel()
    score(pipeline, split, SINGLE_PROCESS, observer=observer, label="scoring test")
    assert observer.details == {"label": "scoring test", "total": 3}
    assert pipeline.batch_sizes == [SCORE_BATCH, SCORE_BATCH, SCORE_BATCH, N - 2 * SCORE_BATCH]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda scores: scores[:, :2], r"scores are \(128, 2\) for 128 images, not \(128, 3\)"),
        (lambda scores: scores * torch.nan, "NaN scores for 300 of 300 images"),
    ],
)
def test_invalid_scores_are_an_error(
    split: Split, change: Callable[[torch.Tensor], torch.Tensor], message: str
) -> None:
    class Broken(FirstPixel):
        def scores(self, batch: Any) -> torch.Tensor:
            return change(super().scores(batch))

    with pytest.raises(UserError, match=message):
        score(Broken(), split, SINGLE_PROCESS, observer=RunObserver(), label="scoring")


def test_images_with_equal_scores_are_counted_except_those_that_cannot_be_decoded() -> None:
    rows = np.array([[0, 0], [1, 2], [-np.inf, -np.inf], [3, 3]], dtype=np.float32)
    scores = Scores(np.array([*"abcd"]), np.zeros(4, dtype=np.int64), rows)
    assert equal_scores_note(scores).startswith("2 of 4 test images have equal scores")
    assert equal_scores_note(replace(scores, scores=rows[:, :1])) == ""
    assert equal_scores_note(replace(scores, scores=rows[[1, 2, 1, 2]])) == ""
