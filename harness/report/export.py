"""A comparison as files for other programs: Markdown, CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.comparison.compare import compare_records
from harness.comparison.cost import cost_table
from harness.comparison.rows import Row
from harness.comparison.table import ONE_VIEW, Comparison, comparison_markdown, main_table
from harness.errors import UserError
from harness.files import write_atomic
from harness.render.table import Table
from harness.report.evidence import ReportOptions, gather
from harness.report.page import report_page
from harness.runs.record import Record
from harness.workspace import Workspace

# Columns of the main table that LaTeX has in the table of costs, for the width of a page.
COST_HEADS = ("fit", "score", "augmentation")


def report_markdown(comparison: Comparison) -> str:
    """Return every verdict, table and note as Markdown."""
    return f"{comparison_markdown(comparison)}\n"


def report_csv(comparison: Comparison) -> str:
    """Return one line per row with every figure unrounded: percent, points, seconds, bytes.

    A cell is empty where the figure is unknown or of the reference.
    """
    common = {
        "dataset": comparison.title,
        "n_test": comparison.n_test,
        "test_digest": comparison.test_digest,
    }
    lines = [{**common, **_csv_cells(row)} for row in comparison.rows]
    return Table(list(lines[0]), [[str(cell) for cell in line.values()] for line in lines]).to_csv()


def _csv_cells(row: Row) -> dict[str, Any]:
    cells = {}
    for name, value in row.to_flat_dict().items():
        if name == "missing_reasons":
            continue
        if isinstance(value, float):
            cells[name] = f"{value:.10g}"
        elif isinstance(value, tuple):
            cells[name] = "; ".join(map(str, value))
        else:
            cells[name] = "" if value is None else value
    return cells


def report_latex(comparison: Comparison) -> str:
    r"""Return a booktabs table for each table of the comparison.

    The preamble needs \usepackage{booktabs,graphicx}.
    """
    title = (
        f"{comparison.title}, {comparison.n_test:,} test images; differences in points, against "
        "the first row."
    )
    verdict = [comparison.summary] if len(comparison.rows) == 2 else []
    results = _without(main_table(comparison), COST_HEADS)
    results = replace(results, caption=" ".join([*verdict, title]), notes=comparison.warnings)
    tables = [results.to_latex("results")]
    if comparison.one_view:
        single = main_table(comparison.one_view, caption=f"The same {ONE_VIEW}.")
        tables.append(_without(single, COST_HEADS).to_latex("one-view"))
    tables.append(_latex_costs(comparison).to_latex("cost"))
    needs = f"% needs \\usepackage{{booktabs,graphicx}}; test digest {comparison.test_digest}"
    return "\n".join([needs, *tables])


def _without(table: Table, heads: Sequence[str]) -> Table:
    """Return the table without the columns of these names."""
    kept = [i for i, head in enumerate(table.heads) if head not in heads]
    rows = [[row[i] for i in kept] for row in table.rows]
    return replace(table, head=[table.head[i] for i in kept], rows=rows)


def _latex_costs(comparison: Comparison) -> Table:
    """Return the table of costs with the columns that the table of results leaves out."""
    costs, main = cost_table(comparison.rows), main_table(comparison)
    extra = [
        i for i, head in enumerate(main.heads) if head in COST_HEADS and head not in costs.heads
    ]
    rows = [
        [*cells, *(row[i] for i in extra)] for cells, row in zip(costs.rows, main.rows, strict=True)
    ]
    head = [*costs.head, *(main.head[i] for i in extra)]
    return Table(head, rows, caption="How each row was made, and what it cost.")


TABLES = {".md": report_markdown, ".csv": report_csv, ".tex": report_latex}
ENDINGS = (".html", *TABLES)


def check_output(file: Path) -> None:
    """Raise UserError unless the ending is one of ENDINGS and the folder exists."""
    if file.suffix.lower() not in ENDINGS:
        raise UserError(
            f"--output {file}: the ending says what is written, and {file.suffix or 'none'!r} is "
            f"not one of: {', '.join(ENDINGS)}"
        )
    if file.is_dir() or not file.absolute().parent.is_dir():
        raise UserError(f"--output {file} must be a file in a folder that exists")


def write_report(
    workspace: Workspace,
    file: Path,
    groups: Sequence[Sequence[Record]],
    options: ReportOptions | None = None,
) -> Comparison:
    """Write the report of these records and return their comparison.

    Parameters
    ----------
    workspace : Workspace
    file : Path
        Its ending says what is written: see ENDINGS.
    groups : sequence of sequences of Record
        As for `compare_records`.
    options : ReportOptions, optional

    Raises
    ------
    UserError
        If the records cannot be compared or the file cannot be written.
    """
    check_output(file)
    options = options or ReportOptions()
    if file.suffix.lower() in TABLES:
        comparison = compare_records(groups, allow_different_train=options.allow_different_train)
        text = TABLES[file.suffix.lower()](comparison)
    else:
        evidence = gather(workspace, groups, options)
        comparison, text = evidence.comparison, report_page(evidence)
    write_atomic(file, lambda out: out.write(text.encode(errors="backslashreplace")))
    return comparison
