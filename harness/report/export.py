"""A comparison as the tables that other programs read: Markdown, CSV, LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from harness.comparison.compare import Comparison
from harness.report.cost_table import cost_table
from harness.report.tables import ONE_VIEW, columns, comparison_markdown, row_notes
from harness.report.verdict import verdicts

LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$", "→": r"$\rightarrow$", "–": "--",
}  # fmt: skip
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
    cost.pop("absent")
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
    notes = [*_notes(comparison), *comparison.caveats]
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


def _latex_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str,
    label: str,
    notes: Sequence[str] = (),
) -> str:
    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(latex, cells)) + r" \\"

    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{latex(caption)}}}",
            rf"  \label{{tab:{label}}}",
            r"  \smallskip",
            rf"  \resizebox{{\ifdim\width>\linewidth\linewidth\else\width\fi}}{{!}}{{\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
            r"    \toprule",
            f"    {line(head)}",
            r"    \midrule",
            *(f"    {line(row)}" for row in rows),
            r"    \bottomrule",
            r"  \end{tabular}}",
            *(
                rf"  \par\smallskip{{\footnotesize\raggedright {latex(note)}\par}}"
                for note in notes
            ),
            r"\end{table}",
            "",
        ]
    )


def latex(text: str) -> str:
    """Text as LaTeX sets it: special characters escaped, a minus before a number, powers of ten."""
    escaped = "".join(LATEX.get(character, character) for character in text)
    numbers = re.sub(
        r"(?<![\w.-])-(?=\d)", "$-$", escaped
    )  # before the powers, whose minus signs are in formulas already
    powers = re.sub(r"\b1e-0?(\d+)\b", r"$10^{-\1}$", numbers)
    return re.sub(r"\b(\d)e-0?(\d+)\b", r"$\1 \\times 10^{-\2}$", powers)
