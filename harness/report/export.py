"""A comparison as the tables that other programs read: Markdown, CSV, LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.comparison.compare import compare_records
from harness.comparison.table import (
    ONE_VIEW,
    Comparison,
    columns,
    comparison_markdown,
    cost_table,
    row_notes,
)
from harness.errors import UserError
from harness.files import write_atomic
from harness.render.table import _latex_table
from harness.report.verdict import verdicts
from harness.runs.record import Record

COSTS = ("fit", "score", "augmentation")
"""Columns that LaTeX has in the table of costs, for the width of a page."""


def report_markdown(comparison: Comparison) -> str:
    """The verdicts, then the tables and notes of `compare --markdown`."""
    return "\n".join(
        [*(f"**{line}**\n" for line in verdicts(comparison)), comparison_markdown(comparison), ""]
    )


def report_csv(comparison: Comparison) -> str:
    """One line a row, every figure of it in full: in percent, points, seconds and bytes. Empty: not known, or of the reference."""
    lines = [_flat(comparison, asdict(row)) for row in comparison.rows]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(lines[0]))
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()


def _flat(comparison: Comparison, row: dict[str, Any]) -> dict[str, Any]:
    cost = row.pop("cost")
    cost.pop("missing_reasons")
    facts = {
        "dataset": comparison.title,
        "n_test": comparison.n_test,
        "test_digest": comparison.test_digest,
    }
    lists = {
        key: "; ".join(map(str, value))
        for key, value in row.items()
        if isinstance(value, (tuple, list))
    }
    numbers = {
        key: f"{value:.10g}" for key, value in {**row, **cost}.items() if isinstance(value, float)
    }
    return {**facts, **row, **lists, **cost, **numbers}


def report_latex(comparison: Comparison) -> str:
    """A booktabs table for each table of `compare`, shrunk to the width of the text; the preamble needs \\usepackage{booktabs,graphicx}."""
    n = f"{comparison.title}, {comparison.n_test:,} test images; differences in points, against the first row."
    caption = " ".join([*(verdicts(comparison) if len(comparison.rows) == 2 else []), n])
    notes = [*_notes(comparison), *comparison.warnings]
    tables = [_latex_table(*_results(comparison), caption=caption, label="results", notes=notes)]
    if comparison.one_view:
        single = comparison.one_view
        tables.append(
            _latex_table(
                *_results(single),
                caption=f"The same {ONE_VIEW}.",
                label="one-view",
                notes=_notes(single),
            )
        )
    tables.append(
        _latex_table(
            *_costs(comparison), caption="How each row was made, and what it cost.", label="cost"
        )
    )
    return (
        "% needs \\usepackage{booktabs,graphicx}; test digest "
        + comparison.test_digest
        + "\n"
        + "\n".join(tables)
    )


def _results(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    chosen = [(head, cell) for head, cell in columns(comparison) if head not in COSTS]
    return [head for head, _ in chosen], [
        [cell(row) for _, cell in chosen] for row in comparison.rows
    ]


def _notes(comparison: Comparison) -> list[str]:
    return [f"{row.label} {row_notes(row)}" for row in comparison.rows if row.notes]


def _costs(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    (_, fit, *head), rows = cost_table(comparison.rows)
    moved = [(name, cell) for name, cell in columns(comparison) if name in COSTS and name != fit]
    return ["pipeline", fit, *head, *(name for name, _ in moved)], [
        [*cells, *(cell(row) for _, cell in moved)]
        for cells, row in zip(rows, comparison.rows, strict=True)
    ]


TABLES = {".md": report_markdown, ".csv": report_csv, ".tex": report_latex}
ENDINGS = (".html", *TABLES)


def check_output(file: Path) -> None:
    """Raises UserError for an ending that is not one of ENDINGS, and for a place where no file can be."""
    if file.suffix.lower() not in ENDINGS:
        raise UserError(
            f"--output {file}: the ending says what is written, and {file.suffix or 'none'!r} is not one of: {', '.join(ENDINGS)}"
        )
    if file.is_dir() or not file.absolute().parent.is_dir():
        raise UserError(f"--output {file} must be a file in a folder that is there")


def write_report(
    file: Path,
    groups: Sequence[Sequence[Record]],
    *,
    allow_different_train: bool = False,
    **page: Any,
) -> Comparison:
    """Write the report of these records, as `compare_records` takes them; its comparison. `page`: arguments of `gather`, for the page alone.

    Raises UserError where the records cannot be compared, and as `check_output` does.
    """
    check_output(file)
    if file.suffix.lower() in TABLES:
        comparison = compare_records(groups, allow_different_train=allow_different_train)
        text = TABLES[file.suffix.lower()](comparison)
    else:
        from harness.report.evidence import gather
        from harness.report.page import report_page

        evidence = gather(groups, allow_different_train=allow_different_train, **page)
        comparison, text = evidence.comparison, report_page(evidence)
    write_atomic(file, lambda out: out.write(text.encode()))
    return comparison
