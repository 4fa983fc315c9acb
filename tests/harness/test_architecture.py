"""The rules of the house: who may import whom, and what stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.registry import ROOT

HEAVY = ("torch", "mlflow", "sklearn", "skimage", "torchvision", "pandas", "matplotlib")


def imports(file: Path) -> set[str]:
    """The modules that a file imports anywhere, in full."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("file", sorted((ROOT / "pipelines").rglob("*.py")), ids=lambda f: f.stem)
def test_pipelines_know_the_contract_and_nothing_else_of_the_harness(file: Path) -> None:
    assert {name for name in imports(file) if name.split(".")[0] == "harness"} <= {
        "harness.contract"
    }


@pytest.mark.parametrize("file", sorted((ROOT / "harness").rglob("*.py")), ids=lambda f: f.stem)
def test_the_harness_reaches_a_pipeline_by_name_only(file: Path) -> None:
    assert not {name for name in imports(file) if name.split(".")[0] == "pipelines"}
    if file.parent != ROOT / "harness/tracking":
        assert not {name for name in imports(file) if name.split(".")[0] == "mlflow"}


COMMANDS = (
    ["--help"],
    ["list"],
    ["runs"],
    ["run", "--help"],
    ["compare", "baseline", "alexnet"],
    ["compare", "hog-svm", "raw-linear", "--dataset", "digits"],
    ["ensemble", "--declared", "7-cnns"],
    ["plan", "--help"],
    ["report", "baseline", "alexnet"],
    ["sync", "--help"],
)


@pytest.fixture
def recorded_pair(make_run: Callable[..., Any], workdir: Path) -> None:
    """Runs `a` and `b` of 40 images, enough for a table."""
    for name, shift in ("a", 0), ("b", 1):
        machine = {"cpu": "two cores", "cores": 2, "memory_gb": 24, "device": "cpu"}
        _, folder = make_run(
            workdir, run_id=name, pipeline=name, name=name, n_test=40, machine=machine
        )
        labels = np.arange(40) % 10
        scores = np.eye(10, dtype=np.float32)[(labels + shift * (np.arange(40) < 8)) % 10]
        np.savez(
            folder / "scores.npz",
            keys=np.array([f"{i:016x}" for i in range(40)]),
            labels=labels,
            scores=scores,
        )


@pytest.mark.parametrize(
    "arguments",
    [*COMMANDS, ["compare", "a", "b"], ["compare", "a", "b", "--published"]],
    ids=" ".join,
)
def test_light_commands_import_nothing_heavy(arguments: list[str], recorded_pair: None) -> None:
    code = (
        "import sys; sys.argv = ['harness', *sys.argv[1:]]\n"
        "from harness.__main__ import main\n"
        "try: main()\n"
        f"finally: print('HEAVY', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert "HEAVY []" in done.stdout, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "McNemar" in done.stdout or arguments[:2] != ["compare", "a"]


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("harness run --pipeline a", "plain,alexnet"),
        ("harness run --dataset d", "plain,digits"),
        ("harness run --data-root elsewhere --dataset p", "plain,pets"),
        ("harness compare baseline alexnet --data-root elsewhere --dataset p", "plain,pets"),
        ("harness data info --data-root elsewhere p", "plain,pets"),
    ],
)
def test_completion_knows_the_names_and_imports_nothing_heavy(
    words: str, completed: str, workdir: Path
) -> None:
    (workdir / "elsewhere/stores/pets").mkdir(parents=True)
    (workdir / "elsewhere/stores/pets/store.json").write_text("{}")
    code = (
        f"import sys, os; os.environ.update(_HARNESS_COMPLETE='bash_complete', COMP_WORDS={words!r}, COMP_CWORD='{words.count(' ')}')\n"
        "from harness.__main__ import main\n"
        "try: main()\n"
        f"finally: print('HEAVY', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert completed in done.stdout
    assert "HEAVY []" in done.stdout
