"""`harness list`: what is available, and what is broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

Harness = Callable[..., str]


def test_pipelines_and_datasets_are_listed(harness: Harness, plugin: str) -> None:
    output = harness("list", "--plugins", plugin, "--json")
    listed = {(item["kind"], item["name"]): item for item in json.loads(output.splitlines()[-1])}
    assert listed["pipeline", "nearest-mean"]["summary"] == "Nearest class mean of the pixels."
    assert listed["pipeline", "nearest-mean"]["family"] == "hand-crafted"
    assert listed["pipeline", "alexnet"]["origin"] == "built-in"
    assert ("dataset", "digits") in listed


def test_check_says_why_a_plugin_is_broken(harness: Harness, workdir: Path) -> None:
    source = '"""Broken."""\nimport no_such_library\ndef build(*, a=1): ...\n'
    (workdir / "broken.py").write_text(source)
    assert "BROKEN" not in harness("list", "--plugins", "broken.py")
    output = harness("list", "--check", "--plugins", "broken.py", code=1)
    assert "BROKEN: " in output
    assert "no_such_library" in output
