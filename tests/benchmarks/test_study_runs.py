"""Finished runs are read, unfinished ones resumed, and only missing ones done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.study_runs import finished_or_run, finished_run, study_request, top1_error
from harness.engine.request import Request
from harness.runs.run_store import RunStore
from harness.workspace import Workspace

SPEC = "raw-linear,size=8,c=1.0,flip=false"


@pytest.fixture
def request_for_digits(workdir: Path) -> Request:
    return study_request(Workspace.open(), SPEC, "digits", tune=0)


def test_a_finished_run_is_read_in_silence(
    workdir: Path,
    request_for_digits: Request,
    untracked: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert finished_run(request_for_digits) is None
    record = finished_or_run(request_for_digits)
    assert 0 < top1_error(record.result) < 50
    assert "raw-linear" in capsys.readouterr().out
    assert finished_or_run(request_for_digits).run_id == record.run_id
    assert capsys.readouterr().out == ""
    assert len(RunStore(workdir / "runs").all()) == 1


def test_runs_of_another_source_count_only_if_asked_for(
    workdir: Path, request_for_digits: Request, untracked: None
) -> None:
    record = finished_or_run(request_for_digits)
    spec = replace(record.spec, source_hash="0123456789abcdef")
    result = replace(record.result, source_hash=spec.source_hash, identity=spec.identity)
    record.save_spec(spec)
    record.finish(result)
    assert finished_run(request_for_digits) is None
    other = finished_run(request_for_digits, any_source=True)
    assert other
    assert other.run_id == record.run_id


def test_an_unfinished_run_is_resumed(
    workdir: Path, request_for_digits: Request, untracked: None
) -> None:
    unfinished = RunStore(workdir / "runs").create("raw-linear", request_for_digits.spec)
    unfinished.set_status("stopped")
    assert finished_or_run(request_for_digits).run_id == unfinished.run_id
    assert len(RunStore(workdir / "runs").all()) == 1
