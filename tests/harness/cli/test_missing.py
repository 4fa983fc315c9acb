"""`--run-missing`: runs that another command finds missing are made first."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.runs.run_store import RunStore

Harness = Callable[..., str]
PAIR = ("nearest-mean", "nearest-mean,shrink=1.0")


def test_missing_runs_are_made_and_printed_once(
    harness: Harness, plugin: str, published: list[str]
) -> None:
    arguments = ("compare", *PAIR, "--plugins", plugin, "--json")
    refused = harness(*arguments, code=2)
    assert (
        f"harness run --pipeline nearest-mean --plugins {plugin} (or give --run-missing)" in refused
    )
    assert not Path("runs").exists()
    output = harness(*arguments, "--run-missing")
    assert re.findall(r"^pipeline   (\S+)$", output, re.M) == list(PAIR)
    rows = json.loads(output.splitlines()[-1])["rows"]
    assert [row["run_ids"] for row in rows] == [[run_id] for run_id in published]
    again = harness(*arguments, "--run-missing")
    assert not re.search(r"^pipeline   (\S+)$", again, re.M)
    assert len(RunStore(Path("runs")).all()) == 2


@pytest.mark.usefixtures("published")
def test_missing_runs_are_made_on_the_dataset_that_is_asked_for(
    harness: Harness, plugin: str
) -> None:
    half = ("--dataset", "subset,of=digits,percent=50")
    harness("compare", *PAIR, "--plugins", plugin, *half, "--run-missing")
    datasets = {record.spec.dataset for record in RunStore(Path("runs")).finished()}
    assert len(datasets) == 1
    assert datasets.pop().startswith("subset,")
