"""What a stage of a run costs: wall-clock time, processor time, memory."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from harness.engine import resources
from harness.engine.context import RunContext, RunServices
from harness.engine.distributed import Processes
from harness.engine.resources import (
    PeakMemory,
    Stopwatch,
    _free_in_control_groups,
    cpu_seconds,
    free_memory_bytes,
)

CPU = torch.device("cpu")
BUSY = "import time\nwhile time.process_time() < {}: pass\n"


def busy(seconds: float) -> None:
    ends = time.thread_time() + seconds
    while time.thread_time() < ends:
        pass


def test_threads_and_children_count_and_waiting_does_not() -> None:
    started = cpu_seconds()
    time.sleep(0.2)
    assert cpu_seconds() - started < 0.1
    thread = threading.Thread(target=busy, args=(0.2,))
    thread.start(), thread.join()
    assert 0.2 <= cpu_seconds() - started < 0.4
    subprocess.run([sys.executable, "-c", BUSY.format(0.3)], check=True)
    assert 0.45 <= cpu_seconds() - started < 0.9  # children are counted in ticks of 10 ms


def test_a_child_counts_while_it_runs() -> None:
    started = cpu_seconds()
    with subprocess.Popen([sys.executable, "-c", BUSY.format(0.3) + "time.sleep(60)"]) as child:
        ends = time.monotonic() + 20
        while cpu_seconds() - started < 0.28 and time.monotonic() < ends:
            time.sleep(0.05)
        child.kill()
    assert time.monotonic() < ends


def test_pauses_do_not_count() -> None:
    started, stopwatch = time.perf_counter(), Stopwatch(CPU)
    busy(0.1)
    with stopwatch.paused():
        busy(0.3)
    assert 0.1 <= stopwatch.usage.cpu_seconds < 0.25
    assert 0.1 <= stopwatch.usage.seconds <= time.perf_counter() - started - 0.3


def resume(saved: Processes, resumed: Processes, folder: Path) -> RunContext:
    """Save a checkpoint after 0.1 s of work, and load it again in another context."""
    services = RunServices(checkpoint_folder=folder)
    first = RunContext(processes=saved, services=services)
    busy(0.1)
    first.checkpoint.save({"step": torch.tensor(1)})
    second = RunContext(processes=resumed, services=services)
    second.checkpoint.load()
    return second


def test_resuming_from_a_checkpoint_counts_earlier_time_once(tmp_path: Path) -> None:
    alone, first, second = Processes(0, 1, CPU), Processes(0, 2, CPU), Processes(1, 2, CPU)
    assert 0.1 <= resume(alone, alone, tmp_path).stopwatch.usage.cpu_seconds < 0.3
    assert resume(alone, second, tmp_path).stopwatch.usage.cpu_seconds < 0.05
    assert resume(alone, second, tmp_path).stopwatch.usage.seconds > 0.1
    # A checkpoint of two processes holds the time of one only.
    assert math.isnan(resume(first, alone, tmp_path).stopwatch.usage.cpu_seconds)


def test_the_peak_of_memory_is_kept_after_the_memory_is_freed() -> None:
    def wait_for(megabytes: float) -> None:
        ends = time.monotonic() + 20
        while peak.megabytes <= megabytes and time.monotonic() < ends:
            time.sleep(0.005)

    with PeakMemory(interval_seconds=0.005) as peak:
        wait_for(0)
        before = peak.megabytes
        block = torch.ones(200 * 2**20, dtype=torch.uint8)
        wait_for(before + 150)
        del block
    assert before > 0
    assert peak.megabytes > before + 150


def test_the_limit_of_a_control_group_bounds_the_free_memory(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlimited = free_memory_bytes(torch.device("cpu"))
    monkeypatch.setattr(resources, "_free_in_control_groups", lambda: iter([3 * 2**20]))
    assert free_memory_bytes(torch.device("cpu")) == 3 * 2**20 < unlimited
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert free_memory_bytes(torch.device("cpu")) == 2**20


def test_pages_that_can_be_dropped_do_not_count_against_a_control_group(workdir: Path) -> None:
    (workdir / "memory.max").write_text("1000\n")
    (workdir / "memory.current").write_text("700\n")
    (workdir / "memory.stat").write_text("anon 500\ninactive_file 200\n")
    assert list(_free_in_control_groups(workdir))[-1:] == [500]
    (workdir / "memory.max").write_text("max\n")
    assert list(_free_in_control_groups(workdir)) == []
