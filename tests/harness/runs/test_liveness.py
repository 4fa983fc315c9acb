"""Whether the process that writes a run is still running, here or on another machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.runs import liveness
from harness.runs.liveness import heartbeat, process_start, this_process
from harness.runs.record import Record
from harness.runs.run_store import RunStore
from harness.runs.spec import RunSpec


@pytest.fixture
def record(make_spec: Callable[..., RunSpec]) -> Record:
    """A run of this process."""
    return RunStore(Path("runs")).create("means", make_spec())


@pytest.fixture
def child() -> Iterator[int]:
    """The id of a running process that writes no run."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


@pytest.fixture
def ended() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def change(record: Record, **facts: Any) -> None:
    record.status_file.write_text(json.dumps({**record.status, **facts}))


def test_a_run_of_this_process_is_running(record: Record) -> None:
    assert record.state == "running"
    assert record.status.items() >= this_process().items()


def test_a_run_is_dead_if_its_process_started_at_another_time(record: Record) -> None:
    """As after a restart of the machine."""
    change(record, pid_started="another boot 1")
    assert record.state == "dead"
    record.set_status("running")
    assert record.state == "running"


def test_a_run_is_dead_if_its_process_id_is_used_by_another(record: Record, child: int) -> None:
    change(record, pid=child)
    assert record.state == "dead"
    change(record, pid=child, pid_started=process_start(child))
    assert record.state == "running"


@pytest.mark.parametrize("facts", [{}, {"pid_started": None}])
def test_a_run_is_dead_if_its_process_has_ended(
    record: Record, ended: int, facts: dict[str, Any]
) -> None:
    assert process_start(ended) is None
    change(record, pid=ended, **facts)
    assert record.state == "dead"


def test_a_run_without_a_process_is_dead(record: Record) -> None:
    status = {name: value for name, value in record.status.items() if name != "pid"}
    record.status_file.write_text(json.dumps(status))
    assert record.state == "dead"


def test_a_run_of_another_machine_is_dead_without_heartbeats(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(record, host="another", pid=1)
    assert record.state == "running"
    stale = time.time() - 2 * liveness.STALE_AFTER_SECONDS
    os.utime(record.status_file, (stale, stale))
    assert record.state == "dead"
    monkeypatch.setattr(liveness, "HEARTBEAT_SECONDS", 0.01)
    with heartbeat(record.status_file):
        deadline = time.monotonic() + 10
        while record.state == "dead" and time.monotonic() < deadline:
            time.sleep(0.01)
    assert record.state == "running"


def test_the_heartbeat_survives_a_status_file_that_is_gone(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run folder is renamed when the run finishes."""
    monkeypatch.setattr(liveness, "HEARTBEAT_SECONDS", 0.01)
    with heartbeat(record.status_file):
        record.status_file.unlink()
        time.sleep(0.05)
    assert not record.status_file.exists()
