"""What the benchmark compares tells two runs apart by one bit, and does not tell a run from its repetition."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from benchmarks.training_kills import facts

import harness
from harness.runs.record import Record
from harness.runs.run_store import RunStore


def recorded() -> Record:
    run_id = harness.run(
        "raw-linear,size=8,c=1.0,flip=false", "digits", limit=100, limit_test=100, track=False
    ).run_id
    return RunStore(Path("runs")).find(run_id)


def test_a_repetition_is_equal_and_one_changed_bit_is_found(workdir: Path) -> None:
    one, other = facts(recorded()), recorded()
    assert facts(other) == one
    scores = other.scores()
    scores.scores[0, 0] = np.nextafter(scores.scores[0, 0], np.float32(np.inf))
    other.save_scores(scores)
    result = json.loads((other.folder / "result.json").read_text())
    (other.folder / "result.json").write_text(
        json.dumps({**result, "fit_seconds": 1e6})
    )  # a time is no difference
    assert {name for name, value in facts(other).items() if value != one[name]} == {"scores scores"}
