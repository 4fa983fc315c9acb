"""`harness report` as a user types it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import harness
from harness.cli import cli
from harness.errors import UserError


def call(*arguments: str) -> str:
    done = CliRunner().invoke(cli, ["report", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def means(plugin: str) -> str:
    harness.run("nearest-mean", "digits", track=False, plugins=[plugin])
    harness.run("nearest-mean,shrink=1.0", "digits", track=False, plugins=[plugin])
    return plugin


def test_the_ending_says_what_is_written(means: str, workdir: Path) -> None:
    pair = ("nearest-mean", "nearest-mean,shrink=1.0", "--plugins", means)
    for name, start in (
        ("report.html", "<!doctype html>"),
        ("r.md", "**500 test"),
        ("r.csv", "dataset,n_test"),
        ("r.TEX", "% needs"),
    ):
        said = call(*pair, *(() if name == "report.html" else ("-o", name)))
        assert (workdir / name).read_text().startswith(start)
        assert f"report     {workdir / name} (" in said
        assert said.startswith(
            "500 test images do not separate nearest-mean,shrink=1.0 from nearest-mean: "
        )
        assert "MLflow     not attached: " in said
    assert not [file.name for file in workdir.iterdir() if file.name.startswith(".")]
    last = call(*pair, "--no-pictures", "--json").splitlines()[-1]
    assert json.loads(last)["file"] == str(workdir / "report.html")
    assert len(json.loads(last)["rows"]) == 2


@pytest.mark.parametrize(
    ("output", "said"),
    [("report.pdf", r"'.pdf' is not one of: .html, .md, .csv, .tex"), ("report", "'none' is not one of"), ("gone/report.html", "a folder that exists")],
)  # fmt: skip
def test_an_output_that_cannot_be_is_refused_before_any_work(output: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        call("no-such-pipeline", "neither", "-o", output)


def test_it_asks_as_compare_does(means: str, workdir: Path) -> None:
    with pytest.raises(UserError, match="two or more pipelines"):
        call("nearest-mean", "--plugins", means)
    with pytest.raises(UserError, match="no finished, unlimited run of raw-linear"):
        call("nearest-mean", "raw-linear", "--plugins", means)
    assert not (workdir / "report.html").exists()


def test_runs_of_a_pipeline_that_is_gone_still_make_a_page(means: str, workdir: Path) -> None:
    """By id, from the scores they kept: the pictures come from the dataset."""
    ids = [folder.name for folder in sorted((workdir / "runs").iterdir())]
    Path(means).unlink()
    shutil.rmtree(workdir / "__pycache__", ignore_errors=True)
    call(*ids)
    page = (workdir / "report.html").read_text()
    assert page.count("<img") > 6
    assert "cannot be loaded" in page
