"""Subsets of training images: nested for one seed, with the tune split inside."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import harness
from harness import UserError
from harness.spec import format_spec


@cache
def subset_keys(percent: float, seed: int) -> frozenset[str]:
    spec = f"subset,of=digits,percent={percent},seed={seed}"
    return frozenset(harness.load_dataset(spec, tune=0).train.keys.tolist())


def test_subsets_of_one_seed_are_nested_and_those_of_two_seeds_differ() -> None:
    assert subset_keys(2, 0) < subset_keys(10, 0) < subset_keys(30, 0) < subset_keys(100, 0)
    assert subset_keys(100, 0) == subset_keys(100, 1)
    shared = len(subset_keys(30, 0) & subset_keys(30, 1)) / len(subset_keys(30, 0))
    assert 0.2 < shared < 0.4  # as by chance


def test_a_subset_keeps_the_test_split_and_contains_its_tune_split() -> None:
    subset = harness.load_dataset("subset,of=digits,percent=10,seed=1")
    assert subset.test.digest == harness.load_dataset("digits").test.digest
    assert subset.tune
    assert {*subset.train.keys, *subset.tune.keys} == subset_keys(10, 1)
    assert np.bincount((subset.train + subset.tune).labels).tolist() == [13] * 10
    assert np.bincount(subset.tune.labels).tolist() == [1] * 10
    assert subset.title == "digits, 10 % of train (subset seed 1)"
    note = "train: 130 of 1,297 images, 10 % of each class, drawn by subset seed 1"
    assert subset.dataset_notes[-1] == note


def test_the_other_dataset_may_need_quotes(workdir: Path, pictures: Callable[..., Path]) -> None:
    counts = {"train/cat": 12, "train/dog": 12, "test/cat": 3, "test/dog": 4}
    of = format_spec("folder", {"path": pictures(workdir / "my, photos", counts)})
    spec = format_spec("subset", {"of": of, "percent": 50})
    splits = harness.load_dataset(spec, data_root=workdir, tune=0)
    assert np.bincount(splits.train.labels).tolist() == [6, 6]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("subset,of=digit,percent=50", "no dataset is called 'digit'"),
        ("subset,of=digits,percent=0", r"percent=0 is not allowed.*number > 0 and <= 100"),
    ],
)
def test_wrong_parameters_are_refused(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        harness.load_dataset(spec)
