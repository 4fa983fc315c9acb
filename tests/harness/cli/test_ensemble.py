"""`harness ensemble`: a run of its own that other commands take."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

Harness = Callable[..., str]
MEMBERS = ("nearest-mean", "raw-linear,c=0.01")


def test_an_ensemble_is_a_run_that_is_listed_compared_and_published(
    harness: Harness,
    plugin: str,
    pictures: Callable[..., Path],
    workdir: Path,
    published: list[str],
) -> None:
    output = harness(
        "ensemble", *MEMBERS, "--run-missing", "--weights", "tune", "--plugins", plugin, "--json"
    )
    result = json.loads(output.splitlines()[-1])
    run_id = result["run_id"]
    assert run_id.startswith("ensemble-")
    assert {"top1_error", "test_evaluations", "notes", "tune_top1_error"} <= set(result)
    assert published[2:] == [run_id]  # after its two members
    assert f"next       harness compare nearest-mean {run_id} --plugins {plugin}\n" in output
    assert run_id in harness("runs")
    table = harness("compare", MEMBERS[0], run_id, "--plugins", plugin, "--json")
    notes = json.loads(table.splitlines()[-1])["rows"][1]["notes"]
    assert notes[0].startswith("2 models, weights from tune")
    folder = pictures(workdir / "mine", {"": 1})
    assert "take its members" in harness("predict", run_id, str(folder), code=2)
    assert "two or more" in harness("ensemble", run_id, code=2)
    assert "made in one go" in harness("run", "--resume", run_id, code=2)
