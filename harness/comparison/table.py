"""The before/after table: a comparison, its tables, and how it is printed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.commands import harness_command
from harness.comparison import notes
from harness.comparison.cost import cost_notes, cost_table
from harness.comparison.rows import Row, format_augmentation, format_averaging
from harness.comparison.verdict import summary, verdicts
from harness.render.html import bullets, escape
from harness.render.table import Column, Table, markdown, terminal_width, wrap
from harness.render.text import duration, interval, p_value, percent

ONE_VIEW = "at one view and one model each"
BRIEF_LINES = 8  # of notes below the table unless details are asked for


@dataclass(frozen=True)
class Comparison:
    """Finished runs of two or more pipelines on one test split; the first row is the reference.

    Parameters
    ----------
    title : str
        The dataset as tables call it.
    dataset : str
        Resolved spec of the dataset.
    one_view : Comparison or None
        The same at one view and one model each, where a row averages more and such runs are on
        record.
    copies : str or None
        Every row without the test images that are copies, also the first of `warnings`; None where
        there are none.
    """

    title: str
    dataset: str
    test_digest: str
    n_test: int
    rows: tuple[Row, ...]
    warnings: tuple[str, ...]
    machines: tuple[str, ...]
    one_view: Comparison | None = None
    copies: str | None = None

    @property
    def summary(self) -> str:
        """One sentence that says which rows have a lower error than the reference."""
        return summary(self.rows, self.n_test)

    @property
    def verdicts(self) -> list[str]:
        """A sentence for each row after the reference."""
        return verdicts(self.rows, self.n_test)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; rows are flat, see `Row.to_flat_dict`."""
        attributes = {name: value for name, value in vars(self).items() if name != "rows"}
        one_view = self.one_view.to_dict() if self.one_view else None
        rows = [row.to_flat_dict() for row in self.rows]
        return {**attributes, "rows": rows, "one_view": one_view}

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with one row per pipeline."""
        import pandas as pd

        frame = pd.DataFrame([row.to_flat_dict() for row in self.rows])
        return frame.drop(columns="missing_reasons")

    def __str__(self) -> str:
        return comparison_text(self)

    def _repr_html_(self) -> str:
        return comparison_html(self)


Cell = Callable[[Row], str]


def _error_cell(row: Row) -> str:
    spread = "" if row.seed_sd is None else f" ± {row.seed_sd:.2f}"
    return percent(row.top1_error.value) + spread


def _min_detectable_cell(row: Row) -> str:
    if row.delta is None or row.delta.min_detectable is None:
        return "-"
    return f"{row.delta.min_detectable:.2f}"


def _seconds_cell(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)


# The columns that matter least have the highest number and are hidden first on a narrow terminal.
COLUMNS: tuple[tuple[Column, Cell], ...] = (
    (Column("pipeline", "left"), lambda row: row.label),
    (Column("top-1 error"), _error_cell),
    (
        Column("95 % interval", priority=2),
        lambda row: interval(row.top1_error.interval.low, row.top1_error.interval.high),
    ),
    (Column("top-5 error", priority=4), lambda row: percent(row.top5_error)),
    (
        Column("delta top-1"),
        lambda row: f"{row.delta.points:+.2f}" if row.delta else "reference",
    ),
    (
        Column("95 % interval"),
        lambda row: interval(row.delta.interval.low, row.delta.interval.high) if row.delta else "-",
    ),
    (Column("McNemar p"), lambda row: p_value(row.delta.p if row.delta else None)),
    (Column("Holm p"), lambda row: p_value(row.delta.p_holm if row.delta else None)),
    (Column("min. detectable", priority=5), _min_detectable_cell),
    (Column("fit", priority=1), lambda row: duration(row.cost.fit_seconds)),
    (Column("score", priority=6), lambda row: _seconds_cell(row.cost.score_seconds)),
    (
        Column("views x models", "left", priority=7),
        lambda row: format_averaging(row.views, row.models),
    ),
    (Column("augmentation", "left", priority=8), lambda row: format_augmentation(row.augmentation)),
)


def main_table(comparison: Comparison, *, caption: str = "") -> Table:
    """Return errors, deltas and tests of every row; below a row the notes of its runs.

    Holm's p has a column where more than one row is tested, and then McNemar's may be hidden.
    """
    columns = list(COLUMNS)
    names = [column.head for column, _ in columns]
    if len(comparison.rows) > 2:
        place = names.index("McNemar p")
        columns[place] = (Column("McNemar p", priority=3), columns[place][1])
    else:
        del columns[names.index("Holm p")]
    return Table(
        [column for column, _ in columns],
        [[cell(row) for _, cell in columns] for row in comparison.rows],
        caption=caption,
        row_notes=["; ".join(row.notes) for row in comparison.rows],
    )


def all_notes(comparison: Comparison) -> list[str]:
    """Return everything that is printed below the tables with details."""
    rows = comparison.rows
    single = comparison.one_view.rows if comparison.one_view else ()
    listed = {row.run_ids for row in rows}
    return [
        _split_note(comparison),
        f"test digest {comparison.test_digest}",
        *notes.column_notes(rows),
        *notes.exact_notes(rows),
        *notes.class_notes(rows),
        *notes.seed_notes(rows),
        *cost_notes(rows),
        *comparison.warnings,
        *_one_view_warnings(comparison),
        *notes.run_notes([*rows, *(row for row in single if row.run_ids not in listed)]),
        *(f"times on {machine}" for machine in comparison.machines),
    ]


def _brief_notes(comparison: Comparison, width: int) -> list[str]:
    """Return about BRIEF_LINES lines of whole notes; the first warning is always among them.

    Warnings come before notes that explain columns, and those that do not fit are counted.
    """
    split_note = _split_note(comparison)
    column_notes = [*_one_view_notes(comparison), *notes.column_notes(comparison.rows)]
    warnings = comparison.warnings
    shown: list[str] = list(warnings[:1])
    room = BRIEF_LINES - _lines([*shown, _more_line(len(warnings))], width)
    for note in [*warnings[1:], split_note, *column_notes]:
        if _lines([note], width) <= room:
            shown.append(note)
            room -= _lines([note], width)
    hidden = sum(warning not in shown for warning in warnings)
    ordered = [note for note in [split_note, *warnings, *column_notes] if note in shown]
    return [wrap(note, width) for note in [*ordered, _more_line(hidden)]]


def _lines(notes_to_wrap: list[str], width: int) -> int:
    return sum(len(wrap(note, width).splitlines()) for note in notes_to_wrap)


def _more_line(hidden_warnings: int) -> str:
    details = harness_command("compare", "--details")
    warnings = f"{hidden_warnings} more warnings, " if hidden_warnings else ""
    return f"more with {details}: {warnings}exact intervals, costs, runs and all notes"


def _split_note(comparison: Comparison) -> str:
    return (
        f"{comparison.title}: {comparison.n_test:,} test images; delta: points against "
        f"{comparison.rows[0].label}, negative is better"
    )


def _one_view_notes(comparison: Comparison) -> list[str]:
    if not comparison.one_view:
        return []
    rows = comparison.one_view.rows
    return [f"{ONE_VIEW}: {'; '.join(_one_view_words(row) for row in rows)}"]


def _one_view_words(row: Row) -> str:
    words = f"{row.label} {percent(row.top1_error.value)}"
    if row.delta is None:
        return words
    return f"{words}, delta {row.delta.points:+.2f}, p {p_value(row.delta.p)}"


def _one_view_warnings(comparison: Comparison) -> list[str]:
    """Return the warnings of the comparison at one view that the whole one does not have."""
    warnings = comparison.one_view.warnings if comparison.one_view else ()
    return [f"{ONE_VIEW}: {text}" for text in warnings if text not in comparison.warnings]


def _tables(comparison: Comparison) -> list[Table]:
    """Return the main table, the one at one view where there is one, and the costs."""
    tables = [main_table(comparison)]
    if comparison.one_view:
        tables.append(main_table(comparison.one_view, caption=ONE_VIEW))
    return [*tables, cost_table(comparison.rows)]


def comparison_text(
    comparison: Comparison, *, details: bool = False, width: int | None = None
) -> str:
    """Return the comparison as `harness compare` prints it.

    Parameters
    ----------
    comparison : Comparison
    details : bool
        False: one sentence, the main table and at most eight lines of notes. True: every verdict,
        table and note.
    width : int or None
        Columns; None: as `harness.render.table.terminal_width` says.
    """
    width = terminal_width() if width is None else width
    if not details:
        table = main_table(comparison).to_text(width)
        brief = "\n".join(_brief_notes(comparison, width))
        return "\n\n".join([wrap(comparison.summary, width), table, brief])
    sentences = [wrap(text, width) for text in comparison.verdicts]
    tables = [table.to_text(width) for table in _tables(comparison)]
    lines = [wrap(note, width) for note in all_notes(comparison)]
    return "\n\n".join(["\n".join(sentences), *tables, "\n".join(lines)])


def comparison_markdown(comparison: Comparison) -> str:
    """Return every verdict, table and note as Markdown."""
    sentences = [f"**{markdown(text)}**" for text in comparison.verdicts]
    tables = [table.to_markdown() for table in _tables(comparison)]
    lines = "\n".join(f"- {markdown(note)}" for note in all_notes(comparison))
    return "\n\n".join([*sentences, *tables, lines])


def comparison_html(comparison: Comparison) -> str:
    """Return every verdict, table and note as HTML for a notebook."""
    parts = [f"<p>{escape(text)}</p>" for text in comparison.verdicts]
    for table in _tables(comparison):
        parts += [f"<p>{escape(table.caption)}</p>"] if table.caption else []
        parts.append(table.to_html())
    return "\n".join([*parts, bullets(all_notes(comparison))])
