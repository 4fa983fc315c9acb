"""A record that contradicts itself is refused, field by field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.runs.consistency import (
    is_run_id,
    result_contradictions,
    score_contradictions,
    spec_contradictions,
)
from harness.runs.result import Result, Scores
from harness.runs.spec import RunSpec, SeedGroup

SCORES = Scores(np.array(["a", "b"]), np.array([0, 9]), np.zeros((2, 10), dtype=np.float32))


@pytest.fixture
def spec(make_spec: Callable[..., RunSpec]) -> RunSpec:
    return make_spec(dataset='digits,classes="0,1"', seed=3)


@pytest.fixture
def result(make_result: Callable[..., Result], spec: RunSpec) -> Result:
    return make_result(identity=spec.identity)


def test_a_sound_record_has_no_contradictions(result: Result, spec: RunSpec) -> None:
    assert [*spec_contradictions(spec), *result_contradictions(result, spec)] == []
    assert list(score_contradictions(SCORES, spec)) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "ensemble"}, {"kind": "rescore"}, {"members": ("a", "b")}, {"weights": (1.0,)},
        {"kind": "ensemble", "members": ("../../etc", "b")}, {"class_names": ()},
        {"kind": "rescore", "weights_of": "../x"}, {"seed_group": SeedGroup("a/b", 3)},
        {"test_digest": "<b>"}, {"source_hash": ""}, {"pipeline": ""}, {"dataset": "a,b"},
    ],
    ids=str,
)  # fmt: skip
def test_a_spec_that_cannot_be_true_is_found(spec: RunSpec, fields: dict[str, Any]) -> None:
    assert list(spec_contradictions(replace(spec, **fields)))


@pytest.mark.parametrize(
    "fields",
    [
        {"pipeline": "baseline"}, {"dataset": "digits"}, {"title": "other"}, {"seed": 4},
        {"tune": 1}, {"limit": 100}, {"limit_test": 100}, {"source_hash": "e" * 16},
        {"train_digest": "e" * 32}, {"test_digest": "e" * 32}, {"identity": "e" * 16},
        {"classes": 9}, {"n_test": 0}, {"n_train": 901}, {"n_fit": 900}, {"refitted": False},
        {"top1_error": None}, {"started": "yesterday"}, {"finished": "2026-01-01T10:00:00"},
    ],
    ids=str,
)  # fmt: skip
def test_a_result_that_contradicts_its_spec_or_itself_is_found(
    result: Result, spec: RunSpec, fields: dict[str, Any]
) -> None:
    assert list(result_contradictions(replace(result, **fields), spec))


@pytest.mark.parametrize(
    "arrays",
    [
        {"keys": np.array([["a", "b"]])}, {"keys": np.array(["a"])}, {"keys": np.array([1, 2])},
        {"labels": np.array([0, 10])}, {"labels": np.array([-1, 0])},
        {"labels": np.array([0.0, 1.0])}, {"scores": np.zeros((2, 9), np.float32)},
        {"scores": np.zeros(2, np.float32)}, {"scores": np.zeros((2, 10), np.int64)},
        {"scores": np.full((2, 10), np.nan, np.float32)}, {"in_train": np.array([True])},
        {"in_train": np.array([0, 1])},
    ],
    ids=str,
)  # fmt: skip
def test_scores_of_no_split_are_found(spec: RunSpec, arrays: dict[str, np.ndarray]) -> None:
    assert list(score_contradictions(replace(SCORES, **arrays), spec))


def test_a_run_id_is_one_visible_name() -> None:
    for text in ("baseline-123456", "mein-modell_2", "a b", "größe-1"):
        assert is_run_id(text)
    for text in ("", ".", "..", ".hidden", "a/b", "a\\b", "a\nb", "\x1b[2J", "a" * 999):
        assert not is_run_id(text)
