"""The comparison finds one changed bit, and no difference between a run and its repetition."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import harness
from benchmarks.interrupted_training import differences, reproducible_content
from harness.runs.record import Record
from harness.runs.run_store import RunStore


def run_once() -> Record:
    run_id = harness.run(
        "raw-linear,size=8,c=1.0,flip=false", "digits", limit=100, limit_test=100, track=False
    ).run_id
    return RunStore(Path("runs")).find(run_id)


def test_a_repetition_is_equal_and_one_changed_bit_is_found(workdir: Path) -> None:
    expected, other = reproducible_content(run_once()), run_once()
    assert differences(expected, reproducible_content(other)) == []
    scores = other.scores()
    scores.scores[0, 0] = np.nextafter(scores.scores[0, 0], np.float32(np.inf))
    other.save_scores(scores)
    path = other.folder / "result.json"
    result = json.loads(path.read_text())
    result["cost"]["fit_seconds"] = 1e6  # times may differ
    path.write_text(json.dumps(result))
    assert differences(expected, reproducible_content(other)) == ["scores scores"]
