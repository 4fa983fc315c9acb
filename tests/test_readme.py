"""What the README and the page of results tell to type is there, and the pipeline that the README shows keeps the contract."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.registry import ROOT, Registry

TEXT = "\n".join((ROOT / page).read_text() for page in ("README.md", "benchmarks/RESULTS.md"))
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", TEXT, re.S)
COMMANDS = sorted(
    {
        line.removeprefix("$ ").partition("  #")[0]
        for _, block in BLOCKS
        for line in block.splitlines()
        if re.match(r"(\$ )?harness ", line)
    }
)
MODULES = sorted(set(re.findall(r"python -m (benchmarks\.[a-z0-9_]+)", TEXT)))


def test_the_readme_has_what_is_looked_at_here() -> None:
    assert len(COMMANDS) > 8
    assert len(MODULES) > 8


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_line_is_understood(line: str) -> None:
    """Its command is there, with these options and pipelines of this spec; nothing is run."""
    _, name, *words = shlex.split(line)
    context = click.Context(cli)
    command = cli.get_command(context, name)
    assert command, name
    given, _, _ = command.make_parser(click.Context(command)).parse_args(args=words)
    specs = [given["pipeline"]] if "pipeline" in given else given.get("runs", ())
    for spec in specs:
        if spec != "nearest-mean":  # the plugin
            Registry().resolve("pipeline", spec)


@pytest.mark.parametrize("module", MODULES)
def test_a_study_is_there(module: str) -> None:
    assert find_spec(module)


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
