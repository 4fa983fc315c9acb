"""Processes that join more than one group, and more processes than the machine has GPUs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.contract import UserError
from harness.engine.device import choose_device
from harness.engine.distributed import SINGLE_PROCESS, join_processes

# One call of print per line, because both processes write to one pipe. The delay is long enough
# for a process that took the keys of the first group for those of the second to hang; 3 s were not.
TWO_GROUPS = """
import time
import torch
from harness.engine.distributed import join_processes

for number in range(2):
    with join_processes(torch.device("cpu")) as group:
        total = float(group.sum(torch.tensor(group.rank + 1.0)))
        print(f"{number} {total}\\n", end="", flush=True)
    if number == 0:
        time.sleep(5 * group.rank)
"""


def test_processes_join_a_second_group_whoever_comes_first(workdir: Path) -> None:
    """`harness run --seeds` and `--budget` join one group after the other."""
    (workdir / "two_groups.py").write_text(TWO_GROUPS)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*torchrun, "--nproc-per-node", "2", "two_groups.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)
    expected = [f"{number} 3.0" for number in (0, 0, 1, 1)]
    assert sorted(done.stdout.splitlines()) == expected, done.stderr


def test_one_process_exchanges_nothing() -> None:
    values = torch.tensor([1.0, 2.0])
    assert SINGLE_PROCESS.sum(values) is values
    assert SINGLE_PROCESS.broadcast(values) is values
    assert torch.equal(SINGLE_PROCESS.stack(values), values[None])
    assert SINGLE_PROCESS.gather("value") == ["value"]
    assert SINGLE_PROCESS.share("value") == "value"


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    launch = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in {**launch, "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    device = choose_device("auto")
    with pytest.raises(UserError, match="1; start at most 1"), join_processes(device):
        pass
    assert not torch.backends.cudnn.allow_tf32
