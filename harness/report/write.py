"""A report as a file: the page, or its tables for a text, a spreadsheet or a paper, by the file's ending."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.comparison.compare import Comparison, compare_records
from harness.errors import UserError
from harness.files import write_atomic
from harness.record import Record
from harness.report.export import report_csv, report_latex, report_markdown

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
