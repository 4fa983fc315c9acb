"""Records and rows made by hand, for tests that compare them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.comparison.rows import Row
from harness.runs.record import Record
from harness.runs.result import Cost, Estimate, Interval, Result, Scores
from harness.runs.run_store import new_run_id

MACHINE = {"cpu": "x", "cores": 2, "memory_gb": 24.0, "device": "cpu"}


@pytest.fixture
def make_record(
    make_result: Callable[..., Result], write_record: Callable[..., Record]
) -> Callable[..., Record]:
    """Write the record of a run in which the first `wrong` of the test images are wrong.

    `labels` are the true classes, by default 100 images of class 0; `edit` changes the scores;
    `spec` holds fields of RunSpec, and all others are fields of the result.
    """

    def make(
        pipeline: str,
        wrong: int,
        *,
        labels: np.ndarray | None = None,
        edit: Callable[[Scores], Scores] = lambda scores: scores,
        spec: dict[str, Any] | None = None,
        **fields: Any,
    ) -> Record:
        labels = np.zeros(100, dtype=np.int64) if labels is None else labels
        n, name = len(labels), pipeline.partition(",")[0]
        fields = {"name": name, "label": name, "seed": 0, "views": 1, "notes": (), **fields}
        draft = make_result(pipeline=pipeline, machine=MACHINE, run_id=new_run_id(name), **fields)
        scores = np.zeros((n, draft.classes), dtype=np.float32)
        predicted = np.where(np.arange(n) < wrong, (labels + 1) % draft.classes, labels)
        scores[np.arange(n), labels] = 0.5
        scores[np.arange(n), predicted] = 1
        if draft.top5_error:  # the true class of these is behind all others
            far = np.arange(min(wrong, round(n * draft.top5_error.value / 100)))
            scores[far, labels[far]] = -1
        keys = np.array([f"{i:016x}" for i in range(n)])
        test = edit(Scores(keys, labels, scores))
        return write_record(Path("runs"), draft, test, spec=spec)

    return make


@pytest.fixture(scope="session")
def make_row() -> Callable[..., Row]:
    """Make a row of `hog-svm`, with the fields that the caller gives."""

    def make(**fields: Any) -> Row:
        row: dict[str, Any] = {
            "pipeline": "hog-svm,c=none",
            "name": "hog-svm",
            "label": "hog-svm",
            "family": "hand-crafted",
            "notes": (),
            "run_ids": ("hog-svm-1",),
            "seeds": (0,),
            "source_hashes": ("0",),
            "finished": ("2026-01-01T00:00:00+00:00",),
            "n_fit": 50,
            "n_labeled": 50,
            "classes": 2,
            "augmentation": (),
            "views": 1,
            "models": 1,
            "test_evaluations": 1,
            "top1_error": Estimate(40.0, Interval(39.0, 41.0)),
            "exact_interval": Interval(38.9, 41.1),
            "seed_sd": None,
            "image_se": 0.5,
            "top5_error": None,
            "mean_class_error": 45.5,
            "cost": Cost(fit_seconds=139.0, peak_memory_mb=978.0, score_seconds=1.0),
        }
        return Row(**{**row, **fields})

    return make
