"""A comparison as files for other programs, read back and checked against the comparison."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.comparison.compare import compare_records
from harness.comparison.table import Comparison
from harness.errors import UserError
from harness.report.evidence import ReportOptions
from harness.report.export import (
    check_output,
    report_csv,
    report_latex,
    report_markdown,
    write_report,
)
from harness.workspace import Workspace


@pytest.fixture
def comparison(groups: Callable[..., list]) -> Comparison:
    return compare_records(groups("few", "ridge"))


def test_csv_has_every_figure_unrounded(comparison: Comparison) -> None:
    a, b = csv.DictReader(io.StringIO(report_csv(comparison)))
    row = comparison.rows[1]
    assert row.delta
    assert float(b["top1_delta"]) == pytest.approx(row.delta.points)
    assert float(b["p_value"]) == pytest.approx(row.delta.p)
    assert a["top1_delta"] == a["p_value"] == ""
    assert b["top1_error"] == f"{row.top1_error.value:.10g}"
    assert b["run_ids"] == row.run_ids[0]
    assert row.cost.model_bytes is not None
    assert int(float(b["model_bytes"])) == row.cost.model_bytes
    assert {line["test_digest"] for line in (a, b)} == {comparison.test_digest}


def test_markdown_begins_with_the_verdict(comparison: Comparison) -> None:
    text = report_markdown(comparison)
    assert text.startswith(f"**{comparison.verdicts[0]}**")
    assert "| pipeline | top-1 error |" in text


def test_latex_is_balanced_and_escaped(comparison: Comparison) -> None:
    first, second = comparison.rows
    rows = (first, replace(second, label="a_b{c}$"))
    text = report_latex(replace(comparison, title="50 % & more_#1", rows=rows))
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 2
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert text.count(rule) == 2
    assert r"50 \% \& more\_\#1" in text
    assert r"a\_b\{c\}\$" in text
    body = re.sub(r"(?m)^%.*$", "", text)
    assert not re.search(r"(?<!\\)[#%]", body)
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", body):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0


def test_latex_has_every_column_once(comparison: Comparison) -> None:
    text = report_latex(comparison)
    for heading in ("fit", "score", "augmentation", "views x models"):
        assert len(re.findall(rf"(?<= & ){heading}(?= [&\\])", text)) == 1
    tables = re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.DOTALL)
    for columns, content in tables:
        lines = [line for line in content.splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in lines} == {len(columns)}


def test_latex_has_the_notes_of_rows_and_the_warnings(comparison: Comparison) -> None:
    first, second = comparison.rows
    rows = (first, replace(second, notes=("32 px variant",)))
    text = report_latex(replace(comparison, rows=rows, warnings=("limited to 100 test images",)))
    assert r"ridge (32 px variant)\par" in text
    assert "limited to 100 test images" in text


def test_latex_shows_the_pair_at_one_view(comparison: Comparison) -> None:
    text = report_latex(replace(comparison, one_view=comparison))
    assert "The same at one view and one model each." in text
    assert text.count(r"\begin{table}") == 3


@pytest.mark.parametrize("ending", [".md", ".csv", ".tex", ".html"])
def test_the_ending_decides_what_is_written(
    workspace: Workspace, groups: Callable[..., list], ending: str, tmp_path: Path
) -> None:
    file = tmp_path / f"report{ending}"
    options = ReportOptions(pictures=False)
    comparison = write_report(workspace, file, groups("few", "ridge"), options)
    assert comparison.rows[1].label in file.read_text()


def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'.doc' is not one of: .html, .md, .csv, .tex"):
        check_output(tmp_path / "report.doc")
    with pytest.raises(UserError, match="must be a file in a folder that exists"):
        check_output(tmp_path / "missing" / "report.html")
