"""The README is short, its commands exist, and the pipeline that it outlines is the example."""

from __future__ import annotations

import ast
import re

from harness.registry import ROOT

TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", TEXT, re.S)


def methods(source: str) -> dict[str, list[str]]:
    """Return the parameters of each function in a module, by name; `__init__` aside."""
    functions = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)]
    return {
        f.name: [a.arg for a in (*f.args.args, *f.args.kwonlyargs)]
        for f in functions
        if f.name != "__init__"
    }


def test_it_can_be_read_in_a_few_minutes() -> None:
    assert len(TEXT.splitlines()) <= 120


def test_the_pipeline_outlined_is_the_one_in_examples() -> None:
    (outline,) = [block for language, block in BLOCKS if language == "python"]
    assert methods(outline) == methods((ROOT / "examples/my_pipeline.py").read_text())


def test_ci_finds_the_test_command() -> None:
    marked = re.findall(r"<!-- test command -->\n```bash\n(.*)\n```", TEXT)
    assert [command.endswith("-m pytest") for command in marked] == [True]
