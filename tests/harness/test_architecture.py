"""The rules of the house: who may import whom, how large things may be, and what stays light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.registry import ROOT

HEAVY = ("torch", "mlflow", "sklearn", "skimage", "torchvision", "pandas", "matplotlib")
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS, MAX_TOP_LEVEL = 400, 50, 7, 12

# From the top floor to the ground; rooms of one floor may import each other, without a cycle.
FLOORS: tuple[frozenset[str], ...] = tuple(
    frozenset(floor.split())
    for floor in (
        "__main__ cli",
        "api",
        "publish",
        "report",
        "engine comparison",
        "tracking metrics",
        "runs",
        "contract workspace",
        "data",
        "registry",
        "spec settings",
        "render files progress errors commands",
    )
)


def python_files(*folders: str) -> list[Path]:
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in python_files("harness")}


def imported(file: Path) -> set[str]:
    """Return the modules that a file imports anywhere: lazily and for types, too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imports_of_ours(module: str) -> set[str]:
    return {name for name in imported(MODULES[module]) if name in MODULES and name != module}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def floor(module: str) -> int:
    (number,) = [number for number, rooms in enumerate(FLOORS) if room(module) in rooms]
    return number


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function without its docstring."""
    last = function.end_lineno or function.lineno
    first_statement = function.body[0]
    docstring = ast.get_docstring(function, clean=False)
    documented = 0
    if docstring is not None:
        documented = (first_statement.end_lineno or 0) - first_statement.lineno + 1
    return last - function.lineno + 1 - documented


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    arguments = function.args
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls")]


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"harness"}))
def test_a_module_imports_from_its_own_floor_and_below(module: str) -> None:
    assert [
        name for name in imports_of_ours(module) - {"harness"} if floor(name) < floor(module)
    ] == []


@pytest.mark.parametrize("module", sorted(name for name in MODULES if room(name) == "render"))
def test_render_knows_only_errors(module: str) -> None:
    assert {room(name) for name in imports_of_ours(module)} <= {"render", "errors"}


def test_there_is_no_import_cycle() -> None:
    remaining = {module: imports_of_ours(module) - {"harness"} for module in MODULES}
    # A package's own file imports nothing, so importing a module from it adds no edge.
    while leaves := [m for m, names in remaining.items() if not names & remaining.keys()]:
        for module in leaves:
            del remaining[module]
    assert remaining == {}


def test_the_top_level_of_the_harness_is_small() -> None:
    assert len(list((ROOT / "harness").glob("[!_]*.py"))) <= MAX_TOP_LEVEL


@pytest.mark.parametrize("file", python_files("pipelines"), ids=module_name)
def test_pipelines_know_the_contract_and_nothing_else_of_the_harness(file: Path) -> None:
    names = {name for name in imported(file) if name.split(".")[0] == "harness"}
    assert {".".join(name.split(".")[:2]) for name in names} <= {"harness.contract"}


@pytest.mark.parametrize("file", python_files("harness"), ids=module_name)
def test_the_harness_reaches_a_pipeline_by_name_only(file: Path) -> None:
    packages = {name.split(".")[0] for name in imported(file)}
    assert "pipelines" not in packages
    assert "mlflow" not in packages or room(module_name(file)) == "tracking"


@pytest.mark.parametrize(
    "file", python_files("harness", "pipelines", "benchmarks"), ids=module_name
)
def test_a_file_can_be_read_in_one_sitting(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= MAX_FILE_LINES
    assert [f.name for f in functions(file) if code_lines(f) > MAX_FUNCTION_LINES] == []


# Conformance tests run on every pipeline and every dataset; the contract holds no code.
TESTED_TOGETHER = ("pipelines", "harness/data/datasets")
MIN_LINES_FOR_A_TEST = 60


@pytest.mark.parametrize(
    "file", python_files("harness", "pipelines", "benchmarks"), ids=module_name
)
def test_tests_mirror_the_tree(file: Path) -> None:
    path = file.relative_to(ROOT)
    short = len(file.read_text().splitlines()) <= MIN_LINES_FOR_A_TEST
    if short or path.name == "__init__.py" or path == Path("harness/contract.py"):
        return
    if path.parent.as_posix() in TESTED_TOGETHER:
        return
    assert (ROOT / "tests" / path.parent / f"test_{path.stem.lstrip('_')}.py").exists()


# Each option of a command is a parameter, and the functions of the API take the options of a run
# one by one, since their callers type them.
MANY_PARAMETERS = ("harness.api", "harness.cli")


@pytest.mark.parametrize(
    "file", python_files("harness", "pipelines", "benchmarks"), ids=module_name
)
def test_functions_take_few_parameters(file: Path) -> None:
    if module_name(file).startswith(MANY_PARAMETERS):
        return
    many = {f.name for f in functions(file) if len(parameters(f)) > MAX_PARAMETERS}
    assert many <= {"build"}


def calls(pattern: str) -> list[str]:
    return [module_name(f) for f in python_files("harness") if re.search(pattern, f.read_text())]


def test_settings_and_registry_are_opened_in_one_place_each() -> None:
    assert calls(r"(?<!def )\bload_settings\(") == ["harness.workspace"]
    assert calls(r"(?<!class )\bRegistry\(") == ["harness.registry"]


def test_the_kind_of_a_run_is_asked_of_its_spec() -> None:
    assert calls(r'"members" in|startswith\("object:"\)') == []


@pytest.mark.parametrize("file", python_files("harness"), ids=module_name)
def test_only_workspace_api_and_cli_take_the_options_of_a_workspace(file: Path) -> None:
    if module_name(file).startswith(("harness.workspace", "harness.api", "harness.cli")):
        return
    triples = [
        f.name for f in functions(file) if {"config", "data_root", "plugins"} <= set(parameters(f))
    ]
    assert triples == []


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
    for name, error in ("a", 0.0), ("b", 20.0):
        machine = {"cpu": "two cores", "cores": 2, "memory_gb": 24, "device": "cpu"}
        make_run(
            workdir,
            run_id=name,
            pipeline=name,
            name=name,
            n_test=40,
            top1_error=error,
            machine=machine,
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
    (workdir / "elsewhere/prepared/pets").mkdir(parents=True)
    (workdir / "elsewhere/prepared/pets/dataset.json").write_text("{}")
    line = {
        "_HARNESS_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    code = (
        f"import sys, os; os.environ.update({line})\n"
        "from harness.__main__ import main\n"
        "try: main()\n"
        f"finally: print('HEAVY', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert completed in done.stdout
    assert "HEAVY []" in done.stdout
