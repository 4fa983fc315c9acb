"""The generated records can be compared, and the command is measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.compare_speed import LEADS, make_record, measure_compare
from harness.metrics.errors import top_k_wrong
from harness.runs.run_store import RunStore


def test_compare_is_measured_on_records_whose_error_falls_with_the_lead(workdir: Path) -> None:
    run_ids = [
        make_record(workdir / "runs", name, images=2000, classes=20, lead=lead)
        for name, lead in LEADS.items()
    ]
    store = RunStore(workdir / "runs")
    before, after = (store.find(run_id) for run_id in run_ids)
    assert before.result.top1_error is not None
    assert after.result.top1_error is not None
    assert after.result.top1_error.value < before.result.top1_error.value < 50
    assert not np.array_equal(before.scores().keys, after.scores().keys)  # orders differ

    seconds, megabytes, output = measure_compare(workdir, run_ids)
    assert seconds > 0
    assert megabytes > 20
    for record in (before, after):
        assert f"{100 * top_k_wrong(record.scores(), 1).mean():.2f}" in output
