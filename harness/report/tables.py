"""Comparisons as text, Markdown and HTML; results as HTML and data frames."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from harness.comparison.compare import Comparison, Row, averages
from harness.contract import Result
from harness.progress import duration
from harness.report.cost_table import cost_notes, cost_table
from harness.report.text import text_table

ONE_VIEW = "at one view and one model each"
WIDTH = 120  # columns of text output


def percent(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f} %"


def interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{low:.2f}, {high:.2f}]"


def p_value(p: float | None) -> str:
    return (
        "-" if p is None else f"{p:.3f}" if p >= 0.001 else f"{p:.0e}" if p > 1e-99 else "< 1e-99"
    )


def augmentation(kinds: Sequence[str] | None) -> str:
    return "?" if kinds is None else ", ".join(kinds) or "none"


def age(finished: str) -> str:
    return duration((datetime.now(UTC) - datetime.fromisoformat(finished)).total_seconds())


Column = tuple[str, Callable[[Row], str]]

COLUMNS: tuple[Column, ...] = (
    ("pipeline", lambda r: r.label),
    (
        "top-1 error",
        lambda r: (
            percent(r.top1_error)
            + (f" ± {r.top1_error_sd:.2f}" if r.top1_error_sd is not None else "")
        ),
    ),
    ("95 % interval", lambda r: interval(r.top1_error_ci_low, r.top1_error_ci_high)),
    ("top-5 error", lambda r: percent(r.top5_error)),
    ("delta top-1", lambda r: "reference" if r.top1_delta is None else f"{r.top1_delta:+.2f}"),
    ("95 % interval", lambda r: interval(r.top1_delta_low, r.top1_delta_high) or "-"),
    ("McNemar p", lambda r: p_value(r.p_value)),
    (
        "smallest",
        lambda r: "-" if r.smallest_detectable is None else f"{r.smallest_detectable:.2f}",
    ),
    ("fit", lambda r: duration(r.fit_seconds)),
    ("score", lambda r: duration(r.score_seconds)),
    ("views x models", lambda r: averages(r.views, r.models)),
    ("augmentation", lambda r: augmentation(r.augmentation)),
)
HOLM: Column = ("Holm p", lambda r: p_value(r.p_holm))


def columns(comparison: Comparison) -> list[Column]:
    """Those that say something: Holm's p stands beside McNemar's where more than one row is tested."""
    chosen = list(COLUMNS)
    if len(comparison.rows) > 2:
        chosen.insert([head for head, _ in chosen].index("McNemar p") + 1, HOLM)
    return chosen


def row_notes(row: Row) -> str:
    """The recipe, a variant, anything later than 2012: it stands in every table."""
    return f"({'; '.join(row.notes)})"


def _rich_cells(row: Row, chosen: Sequence[Column], escape: Callable[[str], str]) -> list[str]:
    """The row's cells for a page, its notes in small print below its name."""
    name, *others = [escape(cell(row)) for _, cell in chosen]
    return [f"{name}<br><small>{escape(row_notes(row))}</small>" if row.notes else name, *others]


def footnotes(comparison: Comparison) -> list[str]:
    """What stands below the table, a line each."""
    lines = [
        f"{comparison.title}, n = {comparison.n_test:,} test images, test digest {comparison.test_digest}",
        "delta in points against the first row, negative is better; smallest: the least that the test can show (5 %)",
        "views x models: averaged at test time; augmentation: of the training images; ?: not on record",
        *_statistics(comparison),
        *cost_notes(comparison.rows),
        *comparison.caveats,
        *_caveats_of_one_view(comparison),
    ]
    single = comparison.one_view.rows if comparison.one_view else ()
    listed = {row.run_ids for row in comparison.rows}
    for row in [*comparison.rows, *(row for row in single if row.run_ids not in listed)]:
        for run_id, seed, source, finished in zip(
            row.run_ids, row.seeds, row.source_hashes, row.finished, strict=True
        ):
            lines.append(
                f"{run_id}: {row.pipeline}, seed {seed}, source {source}, {age(finished)} old, looks at test {row.test_looks}"
            )
    return [*lines, *(f"times on {machine}" for machine in comparison.machines)]


def _caveats_of_one_view(comparison: Comparison) -> list[str]:
    """Those that are not the whole comparison's already."""
    caveats = comparison.one_view.caveats if comparison.one_view else ()
    return [f"{ONE_VIEW}: {caveat}" for caveat in caveats if caveat not in comparison.caveats]


def _statistics(comparison: Comparison) -> list[str]:
    """What the columns have no room for: exact intervals, deltas by class, and where the errors of several seeds vary from."""
    rows = comparison.rows
    exact = ", ".join(
        f"{row.label} {interval(row.top1_error_exact_low, row.top1_error_exact_high)}"
        for row in rows
    )
    lines = [f"exact 95 % intervals (Clopper-Pearson): {exact}"]
    for row in rows[1:]:
        over_classes = interval(
            row.mean_class_delta_over_classes_low, row.mean_class_delta_over_classes_high
        )
        lines.append(
            f"{row.label} against {rows[0].label}, mean of the classes: {row.mean_class_delta:+.2f}, 95 % interval "
            f"{interval(row.mean_class_delta_low, row.mean_class_delta_high)} with other images of these classes, {over_classes} with other classes"
        )
    for row in rows:
        if row.top1_error_sd is not None:
            lines.append(
                f"{row.label}, {len(row.seeds)} seeds: standard deviation {row.top1_error_sd:.2f} over trainings on these images, "
                f"standard error {row.top1_error_se:.2f} over test images"
            )
        if row.top1_delta_seed_se is not None:
            lines.append(
                f"{row.label} against {rows[0].label}: standard error of the delta {row.top1_delta_seed_se:.2f} from seeds, "
                f"{row.top1_delta_image_se:.2f} from test images, which alone the intervals are of"
            )
    if len(rows) > 2:
        lines.append(
            f"Holm p: that p, adjusted for {len(rows) - 1} pipelines tested against {rows[0].label}"
        )
    return lines


def _text_rows(comparison: Comparison) -> str:
    chosen = columns(comparison)
    head, rule, *lines = text_table(
        [head for head, _ in chosen], [[cell(row) for _, cell in chosen] for row in comparison.rows]
    ).splitlines()
    noted = [
        f"{line}\n  {row_notes(row)}" if row.notes else line
        for line, row in zip(lines, comparison.rows, strict=True)
    ]
    return "\n".join([head, rule, *noted])


def comparison_text(comparison: Comparison) -> str:
    """The table as `harness compare` prints it."""
    table = _text_rows(comparison)
    if comparison.one_view:
        table += f"\n\n{ONE_VIEW}\n\n{_text_rows(comparison.one_view)}"
    table += f"\n\n{text_table(*cost_table(comparison.rows))}"
    notes = [
        textwrap.fill(
            line, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
        for line in footnotes(comparison)
    ]
    return "\n".join([table, "", *notes])


def comparison_markdown(comparison: Comparison) -> str:
    table = _markdown_rows(comparison)
    if comparison.one_view:
        table += ["", f"{ONE_VIEW}:", "", *_markdown_rows(comparison.one_view)]
    table += ["", *_markdown_table(*cost_table(comparison.rows))]
    return "\n".join([*table, "", *(f"- {markdown(line)}" for line in footnotes(comparison))])


def markdown(text: str) -> str:
    """Text that says the same as Markdown, in a cell too."""
    return text.replace("<", "&lt;").replace("|", "\\|")


def _markdown_rows(comparison: Comparison) -> list[str]:
    chosen = columns(comparison)
    return _markdown_table(
        [head for head, _ in chosen],
        [_rich_cells(row, chosen, markdown) for row in comparison.rows],
    )


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]


def comparison_html(comparison: Comparison) -> str:
    """A table for a notebook."""
    tables = _html_rows(comparison)
    if comparison.one_view:
        tables += f"<p>{ONE_VIEW}</p>{_html_rows(comparison.one_view)}"
    head, rows = cost_table(comparison.rows)
    tables += _html_table(head, [[html.escape(cell) for cell in row] for row in rows])
    notes = "".join(f"<li>{html.escape(line)}</li>" for line in footnotes(comparison))
    return f"{tables}<ul>{notes}</ul>"


def _html_rows(comparison: Comparison) -> str:
    chosen = columns(comparison)
    rows = [_rich_cells(row, chosen, html.escape) for row in comparison.rows]
    return _html_table([head for head, _ in chosen], rows)


RESULT_COLUMNS: tuple[tuple[str, Callable[[Result], str]], ...] = (
    ("run", lambda r: r.run_id),
    ("pipeline", lambda r: r.pipeline),
    ("dataset", lambda r: r.title),
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
        [head for head, _ in RESULT_COLUMNS],
        [[html.escape(cell(r)) for _, cell in RESULT_COLUMNS] for r in results],
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
