"""The errors that a record says are those of its scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import UserError
from harness.metrics.verification import verified_scores, verify
from harness.runs.record import Record
from harness.runs.result import Estimate, Interval, Result


@pytest.fixture
def record(make_run: Callable[..., Any], workdir: Path) -> Record:
    return Record(make_run(workdir, n_test=50)[1])


def say(record: Record, **fields: Any) -> Record:
    """Write another result as somebody would who also renews the checksums."""
    record.finish(replace(record.result, **fields))
    return Record(record.folder)


def better(estimate: Estimate | None) -> Estimate:
    assert estimate
    return replace(estimate, value=estimate.value - 1)


def test_a_record_that_agrees_with_its_scores_is_verified(record: Record) -> None:
    assert len(verified_scores(record)) == 50
    verify(record)


def test_each_error_is_compared_with_the_scores(record: Record) -> None:
    result: Result = record.result
    assert result.top1_error
    assert result.mean_class_error
    assert result.tune_top1_error
    narrow = Interval(result.top1_error.value, result.top1_error.value)
    for name, value in {
        "top1_error": better(result.top1_error),
        "top5_error": better(result.top5_error),
        "mean_class_error": result.mean_class_error - 1,
        "tune_top1_error": result.tune_top1_error - 1,
        "n_test": 49,
    }.items():
        edited = say(record, **{name: value})
        with pytest.raises(UserError, match=f"it says {name} .*, and its scores have .*runs rm"):
            verify(edited)
        say(edited, **{name: getattr(result, name)})
    edited = say(record, top1_error=replace(result.top1_error, interval=narrow))
    with pytest.raises(UserError, match="it says top1_error"):
        verified_scores(edited)
    edited = say(record, top1_error=result.top1_error, top5_error=None)
    with pytest.raises(UserError, match="it says top5_error None"):
        verified_scores(edited)


def test_the_last_digit_may_be_that_of_another_machine(record: Record) -> None:
    error = record.result.mean_class_error
    assert error
    verify(say(record, mean_class_error=float(np.nextafter(error, 100))))


def test_a_run_without_a_test_or_without_tune_scores_has_nothing_to_compare(
    make_run: Callable[..., Any], workdir: Path
) -> None:
    missing = {"top1_error": None, "tune_top1_error": None}
    verify(Record(make_run(workdir, run_id="tuned-1", **missing)[1]))
