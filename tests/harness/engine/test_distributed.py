"""Processes that meet more than once, and that do not fit the machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.engine.device import choose_device
from harness.engine.distributed import processes
from harness.errors import UserError

MEETINGS = """
import time
import torch
from harness.distributed import processes

for meeting in range(2):
    with processes(torch.device("cpu")) as group:
        total = float(group.sum(torch.tensor(group.rank + 1.0)))
        print(f"{meeting} {total}\\n", end="", flush=True)  # in one piece: two processes write to one pipe
    time.sleep(8 * group.rank)  # after 3 s it was well even then
"""


def test_processes_meet_again_whoever_comes_first(workdir: Path) -> None:
    """As `harness run --seeds` and `--budget` have it. The first waited for ever where the other came late."""
    (workdir / "meetings.py").write_text(MEETINGS)
    two = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "meetings.py",
    ]
    done = subprocess.run(two, capture_output=True, text=True, check=False, timeout=150)
    assert sorted(done.stdout.splitlines()) == [f"{meeting} 3.0" for meeting in (0, 0, 1, 1)], (
        done.stderr
    )


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(UserError, match="there are 1 here; start at most 1"),
        processes(choose_device("auto")),
    ):
        pass
    assert not torch.backends.cudnn.allow_tf32
