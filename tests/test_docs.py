"""The documentation is complete, and what it shows exists; the site itself is built in .ci/run."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

import harness
from harness.cli import COMMANDS, cli
from harness.registry import ROOT, Registry

DOCS = ROOT / "docs"
SITE = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")), *SITE]
TEXT = "\n".join(page.read_text() for page in PAGES)
SHOWN_COMMANDS = sorted(
    {
        line.removeprefix("$ ").removeprefix(".venv/bin/").partition("  #")[0]
        for block in re.findall(r"```\w*\n(.*?)```", TEXT, re.S)
        for line in block.splitlines()
        if re.match(r"(\$ )?(\.venv/bin/)?harness ", line)
    }
)
SHOWN_MODULES = sorted(set(re.findall(r"benchmarks\.[a-z0-9_]+(?=`| |\n)", TEXT)))
EXAMPLE_PLUGINS = [str(ROOT / "examples" / name) for name in ("my_pipeline.py", "my_dataset.py")]


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_the_pages_show_commands_and_modules() -> None:
    assert len(SHOWN_COMMANDS) > 4
    assert len(SHOWN_MODULES) > 8


@pytest.mark.parametrize("line", SHOWN_COMMANDS)
def test_a_shown_command_line_is_valid(line: str) -> None:
    """The command exists with these options, and its pipelines resolve; nothing is run."""
    name, *words = shlex.split(line)[1:]
    command = cli.get_command(click.Context(cli), name)
    assert command, name
    given, _, _ = command.make_parser(click.Context(command)).parse_args(args=words)
    specs = [given["pipeline"]] if "pipeline" in given else given.get("runs", ())
    for spec in specs:
        if spec != "nearest-mean":  # the plugin that the README shows
            Registry(EXAMPLE_PLUGINS).resolve("pipeline", spec)


@pytest.mark.parametrize("module", SHOWN_MODULES)
def test_a_shown_module_exists(module: str) -> None:
    assert find_spec(module)


def test_every_page_is_in_a_toctree() -> None:
    listed = {"index"}
    for page in SITE:
        for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.S):
            names = (line for line in block.split() if not line.startswith(":"))
            listed |= {str((page.parent / name).relative_to(DOCS)) for name in names}
    assert {str(page.relative_to(DOCS).with_suffix("")) for page in SITE} <= listed


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_linked_files_exist(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    files = [target for target in targets if not target.startswith(("http:", "https:"))]
    assert [file for file in files if not (page.parent / file).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_no_path_of_one_machine(page: Path) -> None:
    assert re.findall(r"(?<![\w.])/(?:home|root|tmp|work|Users|opt)/\S*", page.read_text()) == []


@pytest.mark.parametrize("page", SITE, ids=page_name)
def test_tables_fit_a_narrow_screen(page: Path) -> None:
    widths = [line.count("|") - 1 for line in page.read_text().splitlines() if line[:1] == "|"]
    assert max(widths, default=0) <= 5


def test_every_command_has_a_section() -> None:
    sections = re.findall(r"^## `harness (\w+)`$", (DOCS / "commands.md").read_text(), re.M)
    assert sorted(sections) == sorted(COMMANDS)


def test_the_pipelines_in_the_tables_exist() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \|", (DOCS / "pipelines.md").read_text(), re.M)
    assert set(rows) <= set(Registry().names("pipeline"))


def test_the_api_page_has_every_public_name() -> None:
    documented = re.findall(r"harness\.(\w+)$", (DOCS / "api.md").read_text(), re.M)
    assert set(harness.__all__) - {"__version__"} <= set(documented)
