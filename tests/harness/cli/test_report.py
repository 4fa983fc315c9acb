"""`harness report`: what is written where, and what is refused before any work."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import harness as library

Harness = Callable[..., str]
PAIR = ("nearest-mean", "nearest-mean,shrink=1.0")


@pytest.fixture
def plugin_of_runs(plugin: str) -> str:
    """The plugin that two finished runs were made with."""
    for spec in PAIR:
        library.run(spec, "digits", track=False, plugins=[plugin])
    return plugin


def test_the_ending_decides_what_is_written(
    harness: Harness, plugin_of_runs: str, workdir: Path
) -> None:
    report = ("report", *PAIR, "--plugins", plugin_of_runs)
    for name, start in (
        ("report.html", "<!doctype html>"),
        ("r.md", "**500 test"),
        ("r.csv", "dataset,n_test"),
        ("r.TEX", "% needs"),
    ):
        output = harness(*report, *(() if name == "report.html" else ("-o", name)))
        assert (workdir / name).read_text().startswith(start)
        assert f"report     {workdir / name} (" in output
        verdict = "500 test images do not separate nearest-mean,shrink=1.0 from nearest-mean: "
        assert output.startswith(verdict)
        assert "MLflow     not attached: there is no " in output
    assert not [file.name for file in workdir.iterdir() if file.name.startswith(".")]


def test_json_names_the_file_and_has_a_row_per_pipeline(
    harness: Harness, plugin_of_runs: str, workdir: Path
) -> None:
    report = ("report", *PAIR, "--plugins", plugin_of_runs, "--no-pictures", "--json")
    written = json.loads(harness(*report).splitlines()[-1])
    assert written["file"] == str(workdir / "report.html")
    assert len(written["rows"]) == 2


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("report.pdf", "'.pdf' is not one of: .html, .md, .csv, .tex"),
        ("report", "'none' is not one of"),
        ("gone/report.html", "a folder that exists"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_any_work(
    harness: Harness, output: str, message: str
) -> None:
    assert message in harness("report", "no-such-pipeline", "neither", "-o", output, code=2)


def test_runs_are_chosen_as_by_compare(
    harness: Harness, plugin_of_runs: str, workdir: Path
) -> None:
    plugins = ("--plugins", plugin_of_runs)
    assert "two or more pipelines" in harness("report", PAIR[0], *plugins, code=2)
    missing = harness("report", PAIR[0], "raw-linear", *plugins, code=2)
    assert "no finished, unlimited run of raw-linear" in missing
    assert not (workdir / "report.html").exists()


def test_runs_of_a_pipeline_that_is_gone_still_make_a_page(
    harness: Harness, plugin_of_runs: str, workdir: Path
) -> None:
    """They are named by id; the scores are on record, and the pictures come from the dataset."""
    run_ids = [folder.name for folder in sorted((workdir / "runs").iterdir())]
    Path(plugin_of_runs).unlink()
    shutil.rmtree(workdir / "__pycache__", ignore_errors=True)
    harness("report", *run_ids)
    page = (workdir / "report.html").read_text()
    assert page.count("<img") > 6
    assert "cannot be loaded" in page
