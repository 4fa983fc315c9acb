"""Comparisons as text, Markdown and HTML; results as HTML and data frames."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from harness.comparison import Comparison, Row
from harness.contract import Result
from harness.progress import duration
from harness.report.text import text_table

WIDTH = 120  # columns of text output


def percent(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f} %"


def interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{low:.2f}, {high:.2f}]"


def p_value(p: float | None) -> str:
    return "-" if p is None else f"{p:.3f}" if p >= 0.001 else f"{p:.0e}" if p > 1e-99 else "< 1e-99"


def age(finished: str) -> str:
    return duration((datetime.now(UTC) - datetime.fromisoformat(finished)).total_seconds())


COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("pipeline", lambda r: r.name),
    ("top-1 error", lambda r: percent(r.top1_error) + (f" ± {r.top1_error_sd:.2f}" if r.top1_error_sd is not None else "")),
    ("95 % interval", lambda r: interval(r.top1_error_ci_low, r.top1_error_ci_high)),
    ("top-5 error", lambda r: percent(r.top5_error)),
    ("delta top-1", lambda r: "reference" if r.top1_delta is None else f"{r.top1_delta:+.2f}"),
    ("95 % interval", lambda r: interval(r.top1_delta_low, r.top1_delta_high) or "-"),
    ("McNemar p", lambda r: p_value(r.p_value)),
    ("smallest", lambda r: "-" if r.smallest_detectable is None else f"{r.smallest_detectable:.2f}"),
    ("fit", lambda r: duration(r.fit_seconds)),
    ("score", lambda r: duration(r.score_seconds)),
)


def _notes(row: Row) -> str:
    """The recipe, a variant, anything later than 2012: it stands in every table."""
    return f"({'; '.join(row.notes)})"


def _rich_cells(row: Row, escape: Callable[[str], str]) -> list[str]:
    """The row's cells for a page, its notes in small print below its name."""
    name, *others = [escape(cell(row)) for _, cell in COLUMNS]
    return [f"{name}<br><small>{escape(_notes(row))}</small>" if row.notes else name, *others]


def _footnotes(comparison: Comparison) -> list[str]:
    lines = [
        f"{comparison.title}, n = {comparison.n_test:,} test images, test digest {comparison.test_digest}",
        "delta in points against the first row, negative is better; smallest: the least difference this n can show (exact McNemar, 5 %)",
        *comparison.caveats,
    ]
    for row in comparison.rows:
        for run_id, seed, source, finished in zip(row.run_ids, row.seeds, row.source_hashes, row.finished, strict=True):
            lines.append(
                f"{run_id}: {row.pipeline}, seed {seed}, source {source}, {age(finished)} old, looks at test {row.test_looks}"
            )
    return [*lines, *(f"times on {machine}" for machine in comparison.machines)]


def comparison_text(comparison: Comparison) -> str:
    """The table as `harness compare` prints it."""
    head, rule, *lines = text_table(
        [head for head, _ in COLUMNS], [[cell(row) for _, cell in COLUMNS] for row in comparison.rows]
    ).splitlines()
    noted = [f"{line}\n  {_notes(row)}" if row.notes else line for line, row in zip(lines, comparison.rows, strict=True)]
    table = "\n".join([head, rule, *noted])
    notes = [textwrap.fill(line, WIDTH, subsequent_indent="  ", break_long_words=False) for line in _footnotes(comparison)]
    return "\n".join([table, "", *notes])


def comparison_markdown(comparison: Comparison) -> str:
    rows = [[head for head, _ in COLUMNS], ["---"] * len(COLUMNS), *(_rich_cells(row, str) for row in comparison.rows)]
    return "\n".join(["| " + " | ".join(row) + " |" for row in rows] + ["", *(f"- {line}" for line in _footnotes(comparison))])


def comparison_html(comparison: Comparison) -> str:
    """A table for a notebook."""
    rows = [_rich_cells(row, html.escape) for row in comparison.rows]
    notes = "".join(f"<li>{html.escape(line)}</li>" for line in _footnotes(comparison))
    return f"{_html_table([head for head, _ in COLUMNS], rows)}<ul>{notes}</ul>"


RESULT_COLUMNS: tuple[tuple[str, Callable[[Result], str]], ...] = (
    ("run", lambda r: r.run_id),
    ("pipeline", lambda r: r.pipeline),
    ("data set", lambda r: r.title),
    ("seed", lambda r: str(r.seed)),
    ("n fit", lambda r: f"{r.n_fit:,}"),
    ("n test", lambda r: f"{r.n_test:,}"),
    ("tune top-1 error", lambda r: percent(r.tune_top1_error)),
    ("top-1 error", lambda r: percent(r.top1_error)),
    ("95 % interval", lambda r: interval(r.top1_error_ci_low, r.top1_error_ci_high)),
    ("top-5 error", lambda r: percent(r.top5_error)),
    ("fit", lambda r: duration(r.fit_seconds)),
    ("notes", lambda r: "; ".join(r.notes)),
)


def results_html(results: Sequence[Result]) -> str:
    return _html_table(
        [head for head, _ in RESULT_COLUMNS], [[html.escape(cell(r)) for _, cell in RESULT_COLUMNS] for r in results]
    )


def results_frame(results: Sequence[Result]) -> Any:
    import pandas as pd

    hidden = {"curves", "machine", "versions", "absent"}
    return pd.DataFrame([{k: v for k, v in vars(r).items() if k not in hidden} for r in results])


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """`rows` are HTML already."""
    cells = "".join(f"<th>{html.escape(h)}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
