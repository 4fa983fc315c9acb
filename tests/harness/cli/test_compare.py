"""`harness compare`: what it prints by option."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import harness as library
from harness.runs.run_store import RunStore

Harness = Callable[..., str]
PAIR = ("nearest-mean", "nearest-mean,shrink=1.0")


@pytest.fixture
def runs(plugin: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two finished runs on digits."""
    monkeypatch.setenv("HARNESS_PLUGINS", plugin)
    return [library.run(spec, "digits", track=False, plugins=[plugin]).run_id for spec in PAIR]


@pytest.mark.usefixtures("runs")
def test_the_table_and_its_json_have_a_row_per_pipeline(harness: Harness) -> None:
    output = harness("compare", *PAIR, "--json")
    rows = json.loads(output.splitlines()[-1])["rows"]
    assert [row["name"] for row in rows] == ["nearest-mean", "nearest-mean"]
    assert len({row["pipeline"] for row in rows}) == 2
    assert "McNemar" in output


@pytest.mark.usefixtures("runs")
def test_markdown_is_a_table_alone(harness: Harness) -> None:
    output = harness("compare", *PAIR, "--markdown")
    assert "\n| " in output
    assert "MLflow" not in output


@pytest.mark.usefixtures("runs")
def test_details_add_to_the_table(harness: Harness) -> None:
    assert len(harness("compare", *PAIR, "--details")) > len(harness("compare", *PAIR))


@pytest.mark.usefixtures("runs")
def test_published_figures_stand_beside_it_where_there_are_any(harness: Harness) -> None:
    output = harness("compare", *PAIR, "--published", "--json")
    assert "published: nothing on this dataset; there are figures on caltech101, cifar10" in output
    published = json.loads(output.splitlines()[-1])["published"]
    assert published["name"] is None
    assert published["before_after"][0]["pair"]["quoted"] == "26.2 -> 15.3"


def test_runs_in_mlflow_are_linked(harness: Harness, runs: list[str]) -> None:
    for run_id in runs:
        record = RunStore(Path("runs")).find(run_id)
        record.save_links("http://localhost:5000/#/table", f"http://localhost:5000/#/run/{run_id}")
    link = "MLflow: http://localhost:5000/#/table (harness ui starts it)"
    assert link not in harness("compare", *PAIR)
    assert link in harness("compare", "--details", *PAIR)
