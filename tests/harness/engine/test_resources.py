"""What a stage of a run costs: seconds on the wall and of processor."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from harness import UserError
from harness.engine.context import RunContext
from harness.engine.device import choose_device
from harness.engine.distributed import Processes
from harness.engine.resources import Stopwatch, cpu_seconds

CPU = torch.device("cpu")
BUSY = "import time\nwhile time.process_time() < {}: pass\n"


def busy(seconds: float) -> None:
    ends = time.thread_time() + seconds
    while time.thread_time() < ends:
        pass


def test_a_device_that_cannot_be_used_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Apple's GPUs among them, which `auto` passes over."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    with pytest.raises(UserError, match="--device mps: Apple's GPUs have no float64"):
        choose_device("mps")
    with pytest.raises(
        UserError, match="--device cuda:7: not on this machine; there are: auto, cpu"
    ):
        choose_device("cuda:7")


def test_threads_and_children_count_and_waiting_does_not() -> None:
    started = cpu_seconds()
    time.sleep(0.2)
    assert cpu_seconds() - started < 0.1
    thread = threading.Thread(target=busy, args=(0.2,))
    thread.start(), thread.join()
    assert 0.2 <= cpu_seconds() - started < 0.4
    subprocess.run([sys.executable, "-c", BUSY.format(0.3)], check=True)
    assert 0.45 <= cpu_seconds() - started < 0.9  # children are counted in ticks of 10 ms


def test_a_child_that_still_runs_counts() -> None:
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
    assert 0.1 <= stopwatch.spent.cpu_seconds < 0.25
    assert 0.1 <= stopwatch.spent.seconds <= time.perf_counter() - started - 0.3


def gone_on(saved: Processes, resumed: Processes, folder: Path) -> RunContext:
    first = RunContext(processes=saved, checkpoint_folder=folder)
    busy(0.1)
    first.checkpoint.save({"step": torch.tensor(1)})
    second = RunContext(processes=resumed, checkpoint_folder=folder)
    second.checkpoint.load()
    return second


def test_what_goes_on_from_a_checkpoint_counts_what_came_before_once(tmp_path: Path) -> None:
    alone, first, second = Processes(0, 1, CPU), Processes(0, 2, CPU), Processes(1, 2, CPU)
    assert 0.1 <= gone_on(alone, alone, tmp_path).stopwatch.spent.cpu_seconds < 0.3
    assert gone_on(alone, second, tmp_path).stopwatch.spent.cpu_seconds < 0.05
    assert gone_on(alone, second, tmp_path).stopwatch.spent.seconds > 0.1
    # Of two processes the checkpoint knows one's share only.
    assert math.isnan(gone_on(first, alone, tmp_path).stopwatch.spent.cpu_seconds)
