from __future__ import annotations

import numpy as np
import pytest
from harness.context import RunContext

import harness
from harness import Split
from pipelines._flip_invariance import is_flip_invariant


def symmetric(n: int) -> Split:
    """Horizontal bars at four heights: mirrored, they are what they were."""
    labels = np.arange(n) % 4
    images = np.random.default_rng(0).integers(0, 60, (n, 32, 32), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[8 * label : 8 * label + 4] += 150
    return Split.from_arrays(images, labels)


def test_digits_may_not_be_mirrored() -> None:
    splits = harness.load_dataset("digits")
    assert is_flip_invariant(splits.train, splits.tune, RunContext()) is False


def test_what_looks_the_same_in_a_mirror_may_be() -> None:
    assert is_flip_invariant(symmetric(200), symmetric(80), RunContext()) is True


@pytest.mark.parametrize("transpose", [False, True])
def test_it_is_left_and_right_that_count(transpose: bool) -> None:
    """Bars turned to columns: the mirror moves the first to where the last was."""
    train, tune = symmetric(200), symmetric(80)
    if transpose:
        train, tune = (
            Split.from_arrays(s.images.pixels.transpose(2, 3).contiguous(), s.labels)
            for s in (train, tune)
        )  # type: ignore[attr-defined]
    assert is_flip_invariant(train, tune, RunContext()) is not transpose


def test_without_tune_the_paper_is_followed() -> None:
    assert is_flip_invariant(symmetric(20), None, RunContext()) is True
