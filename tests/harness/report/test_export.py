"""The tables for other programs: read back, and held against the comparison."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import pytest
from harness.report.verdict import verdicts

from harness.comparison.compare import compare_records
from harness.render.table import latex
from harness.report.export import report_csv, report_latex, report_markdown


@pytest.fixture
def comparison(groups):
    return compare_records(groups("few", "ridge"))


def test_csv_has_every_figure_in_full(comparison) -> None:
    a, b = csv.DictReader(io.StringIO(report_csv(comparison)))
    row = comparison.rows[1]
    assert float(b["top1_delta"]) == pytest.approx(row.top1_delta)
    assert float(b["p_value"]) == pytest.approx(row.p_value)
    assert a["top1_delta"] == a["p_value"] == ""
    assert b["top1_error"] == f"{row.top1_error:.10g}"
    assert b["run_ids"] == row.run_ids[0]
    assert int(b["model_bytes"]) == row.cost.model_bytes
    assert {each["test_digest"] for each in (a, b)} == {comparison.test_digest}


def test_markdown_begins_with_the_verdict(comparison) -> None:
    text = report_markdown(comparison)
    assert text.startswith(f"**{verdicts(comparison)[0]}**")
    assert "| pipeline | top-1 error |" in text


def test_latex_is_balanced_and_escaped(comparison) -> None:
    first, second = comparison.rows
    named = replace(
        comparison, title="50 % & more_#1", rows=(first, replace(second, label="a_b{c}$"))
    )
    text = report_latex(named)
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
    for heading in ("fit", "score", "augmentation", "views x models"):
        assert len(re.findall(rf"(?<= & ){heading}(?= [&\\])", text)) == 1
    for tabular in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        lines = [line for line in tabular[1].splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in lines} == {len(tabular[0])}


def test_latex_says_what_every_table_says(comparison) -> None:
    first, second = comparison.rows
    noted = replace(
        comparison,
        rows=(first, replace(second, notes=("32 px variant",))),
        warnings=("limited to 100 test images",),
    )
    text = report_latex(noted)
    assert r"ridge (32 px variant)\par" in text
    assert "limited to 100 test images" in text


def test_numbers_are_set_as_numbers() -> None:
    assert latex("-0.60") == "$-$0.60"
    assert latex("[-2.00, 0.60]") == "[$-$2.00, 0.60]"
    assert latex("3e-12") == r"$3 \times 10^{-12}$"
    assert latex("1e-05") == r"$10^{-5}$"
    assert latex("< 1e-99") == r"\textless{} $10^{-99}$"
    assert latex("hog-svm, 2011-2012") == "hog-svm, 2011-2012"
