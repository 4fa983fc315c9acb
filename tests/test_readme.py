"""The pipeline that the README shows keeps the contract."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.registry import ROOT

BLOCKS = re.findall(r"```(\w*)\n(.*?)```", (ROOT / "README.md").read_text(), re.S)


@pytest.fixture
def shown(workdir: Path) -> str:
    (text,) = [
        block for language, block in BLOCKS if language == "python" and "def build(" in block
    ]
    (workdir / "nearest_mean.py").write_text(text)
    return "nearest_mean.py"


def test_the_pipeline_shown_keeps_the_contract(shown: str) -> None:
    checked = CliRunner().invoke(cli, ["check", "--plugins", shown, "nearest-mean"])
    assert checked.exit_code == 0, checked.output


def test_the_pipeline_shown_learns_the_same_in_two_processes(shown: str) -> None:
    run = [
        "-m",
        "harness",
        "run",
        "--plugins",
        shown,
        "--pipeline",
        "nearest-mean",
        "--device",
        "cpu",
    ]  # there may be one GPU
    alone = subprocess.run(
        [sys.executable, *run], capture_output=True, text=True, check=True
    ).stdout
    two = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        *run,
    ]
    together = subprocess.run(two, capture_output=True, text=True, check=True).stdout
    (error,) = re.findall(r"^top-1 .*", alone, re.M)
    assert error in together
