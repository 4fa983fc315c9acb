"""The records that the benchmark makes are ones that compare takes, whatever their size."""

from __future__ import annotations

from pathlib import Path

from benchmarks.compare_scale import LEADS, make_record, measure

from harness.comparison.compare import compare_records
from harness.runs.run_store import RunStore


def test_records_are_comparable_and_the_command_is_measured(workdir: Path) -> None:
    for run_id, lead in LEADS.items():
        make_record(workdir / "runs", run_id, images=2000, classes=20, lead=lead)
    runs = RunStore(workdir / "runs")
    table = compare_records([[runs.find(run_id)] for run_id in LEADS])
    before, after = table.rows
    assert (
        after.top1_error < before.top1_error < 50
    )  # the larger lead errs less, and both know more than chance
    assert after.p_value is not None
    assert after.p_value < 0.05
    seconds, megabytes, printed = measure(workdir, list(LEADS))
    assert seconds > 0
    assert megabytes > 20
    assert f"{after.top1_delta:+.2f}" in printed
