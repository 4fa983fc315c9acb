"""Every file in examples/ runs as it stands, through the real command line or a real kernel."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from nbclient import NotebookClient

from harness.cli import cli
from harness.registry import ROOT

EXAMPLES = ROOT / "examples"


@pytest.fixture
def examples(workdir: Path) -> Path:
    """A copy of examples/ as the working folder, so that no run is recorded in the tree."""
    shutil.copytree(EXAMPLES, workdir, dirs_exist_ok=True)
    return workdir


def harness(*arguments: str) -> str:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.usefixtures("examples")
def test_my_pipeline_keeps_the_contract() -> None:
    harness("check", "--plugins", "my_pipeline.py", "my-pipeline,shrink=0.1")


@pytest.mark.usefixtures("examples")
def test_my_pipeline_runs_on_my_dataset() -> None:
    plugins = ("--plugins", "my_pipeline.py", "--plugins", "my_dataset.py")
    small = ("--dataset", "my-dataset,train_per_class=20,test_per_class=10")
    assert "top-1" in harness("run", *plugins, *small, "--pipeline", "my-pipeline")
    table = harness("compare", *plugins, *small, "my-pipeline", "hog-svm", "--run-missing")
    assert "my-pipeline" in table
    assert "hog-svm" in table


@pytest.mark.usefixtures("examples")
def test_my_pipeline_learns_the_same_in_two_processes() -> None:
    run = "run --plugins my_pipeline.py --pipeline my-pipeline --device cpu"
    torchrun = "-m torch.distributed.run --standalone --nproc-per-node 2 -m harness"
    command = [sys.executable, *torchrun.split(), *run.split()]
    together = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (error,) = re.findall(r"^top-1 .*", harness(*run.split()), re.M)
    assert re.findall(r"^top-1 .*", together, re.M) == [error]


def test_the_quickstart_notebook_runs(examples: Path) -> None:
    notebook = nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(examples)}}).execute()
    shown = "".join(
        output["data"].get("text/html", "")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "data" in output
    )
    assert "my-pipeline" in shown
    assert "<table" in shown
