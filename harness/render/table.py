"""One table, rendered as text that fits the terminal, as Markdown, HTML, LaTeX or CSV.

Fitting the terminal is why this is not left to tabulate: it pads every heading by two columns,
hides and stacks nothing, and escapes the formulas of a LaTeX table.
"""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from markupsafe import Markup

from harness.render.html import escape, keep_words_whole
from harness.render.text import printable

PROSE_WIDTH = 120  # columns; longer lines of prose are hard to read
SHORTEST_TEXT = 24  # columns that a shortened cell keeps
UNLIMITED = sys.maxsize
FORMULA_SIGNS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$", "→": r"$\rightarrow$", "–": "--",
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """The heading of a column and how the column behaves.

    Parameters
    ----------
    head : str
    align : {"left", "right"}
    priority : int
        Where a table is too wide, columns are hidden, the one with the highest number first.
        A column with 0 is never hidden.
    free_text : bool
        Cells may be shortened with an ellipsis, which is tried before columns are hidden.
    """

    head: str
    align: Literal["left", "right"] = "right"
    priority: int = 0
    free_text: bool = False


@dataclass(frozen=True)
class Table:
    """A table with everything that is printed around it.

    Parameters
    ----------
    head : sequence of Column or str
        A plain string is a column that is aligned left in the first place, else right.
    rows : sequence of sequences of str
        One cell per column. For HTML a cell may be Markup; any other is escaped.
    notes : sequence of str
        Remarks below the table.
    caption : str
        What the table holds.
    row_notes : sequence of str
        One remark per row, possibly empty, in small print below the row; or none at all.
    """

    head: Sequence[Column | str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    caption: str = ""
    row_notes: Sequence[str] = ()

    @property
    def columns(self) -> list[Column]:
        """The head, with every plain string as a Column."""
        return [
            Column(column, "right" if index else "left") if isinstance(column, str) else column
            for index, column in enumerate(self.head)
        ]

    @property
    def heads(self) -> list[str]:
        return [column.head for column in self.columns]

    def row_note(self, row: int) -> str:
        """Return the remark of a row in parentheses; empty where it has none."""
        return f"({self.row_notes[row]})" if self.row_notes and self.row_notes[row] else ""

    def to_text(self, width: int | None = None) -> str:
        """Return plain text in which no row is longer than `width` columns.

        A table that is too wide has its free text shortened, then its columns hidden by priority
        (and named below). If that is not enough, each row becomes a block of `label  value` lines.

        Parameters
        ----------
        width : int or None
            None: as `terminal_width` says.
        """
        width = terminal_width() if width is None else width
        table = replace(self, rows=[[*map(printable, row)] for row in self.rows])
        shown = list(range(len(table.columns)))
        while not _fits(table, shown, width) and any(table.columns[i].priority for i in shown):
            shown.remove(max(shown, key=lambda i: (table.columns[i].priority, i)))
        hidden = [column.head for i, column in enumerate(table.columns) if i not in shown]
        parts = [wrap(table.caption, width)] if table.caption else []
        if _fits(table, shown, width):
            parts.append(_grid(table, shown, width))
            if hidden:
                parts[-1] += "\n" + wrap(f"hidden at this width: {', '.join(hidden)}", width)
        else:
            parts.append(_blocks(table, width))
        if table.notes:
            parts.append("\n".join(wrap(note, width) for note in table.notes))
        return "\n\n".join(parts)

    def to_markdown(self) -> str:
        """Return a GitHub table, the caption above and the notes as a list below."""
        rules = [":---" if column.align == "left" else "---:" for column in self.columns]
        rows = [[markdown(cell) for cell in row] for row in self.rows]
        for index, row in enumerate(rows):
            if note := self.row_note(index):
                row[0] += f"<br><small>{markdown(note)}</small>"
        lines = [[markdown(head) for head in self.heads], rules, *rows]
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        notes = "\n".join(f"- {markdown(note)}" for note in self.notes)
        caption = f"{markdown(self.caption)}:" if self.caption else ""
        return "\n\n".join(filter(None, [caption, body, notes]))

    def to_html(self) -> Markup:
        """Return a table in a box of its own that scrolls where the page is narrower.

        The first cell of a row is its heading; the caption is for those who do not see the table.
        """
        right = [column.align == "right" for column in self.columns]
        heads = [
            _html_cell("th scope=col" if head else "td", head, number)
            for head, number in zip(self.heads, right, strict=True)
        ]
        thead = f"<thead><tr>{''.join(heads)}</tr></thead>" if any(self.heads) else ""
        body = "\n".join(_html_row(self, index, right) for index in range(len(self.rows)))
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        caption = escape(self.caption)
        unseen = f"<caption class=unseen>{caption}</caption>" if caption else ""
        return Markup(
            f'<div class="wide" role="region" aria-label="{caption}" tabindex="0">'
            f"<table>{unseen}{thead}\n<tbody>\n{body}\n</tbody></table></div>"
            + (f"\n<ul>{notes}</ul>" if notes else "")
        )

    def to_latex(self, label: str) -> str:
        r"""Return a booktabs table, shrunk to the width of the text where it is wider.

        The preamble needs \usepackage{booktabs,graphicx}.
        """
        noted = [
            f"{row[0]} {self.row_note(index)}"
            for index, row in enumerate(self.rows)
            if self.row_note(index)
        ]
        columns = "".join(column.align[0] for column in self.columns)
        shrink = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}"
        lines = [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{latex(self.caption)}}}",
            rf"  \label{{tab:{label}}}",
            r"  \smallskip",
            rf"  {shrink}{{\begin{{tabular}}{{{columns}}}",
            r"    \toprule",
            _latex_row(self.heads),
            r"    \midrule",
            *map(_latex_row, self.rows),
            r"    \bottomrule",
            r"  \end{tabular}}",
            *map(_latex_note, [*noted, *self.notes]),
            r"\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def to_csv(self) -> str:
        """Return the head and the rows as comma-separated values; see `csv_cell`."""
        file = io.StringIO()
        csv.writer(file).writerows([map(csv_cell, row) for row in [self.heads, *self.rows]])
        return file.getvalue()


def terminal_width() -> int:
    """Return how many columns text may have.

    COLUMNS where it is set, else the width of the terminal. Output that is piped or written to a
    file has no limit unless COLUMNS gives one.
    """
    if os.environ.get("COLUMNS", "").isdigit() or sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    return UNLIMITED


def wrap(text: str, width: int, indent: str = "") -> str:
    """Break prose into lines of at most `width` columns.

    Long words, such as run ids, stay whole, and a number keeps its percent sign.
    """
    lines = textwrap.fill(
        printable(text).replace(" %", f"{NO_BREAK_SPACE}%"),
        min(width, PROSE_WIDTH),
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines.replace(NO_BREAK_SPACE, " ")


def csv_cell(text: str) -> str:
    """Return a cell that a spreadsheet shows as text instead of calculating it.

    Text that begins like a formula gets an apostrophe in front; numbers stay numbers.
    """
    text = printable(text)
    if not text.lstrip().startswith(FORMULA_SIGNS) or len(text) == 1:
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def markdown(text: str) -> str:
    """Escape what Markdown would take for HTML, emphasis, a link, or the end of a table's cell."""
    text = re.sub(r"[\\`*$|]|(?<![^\W_])_|_(?![^\W_])|^[#>]", r"\\\g<0>", printable(text))
    text = text.replace("](", "]\\(").replace("~~", "\\~\\~")
    return re.sub(r"&(?=#?\w+;)", "&amp;", text).replace("<", "&lt;")


def latex(text: str) -> str:
    """Escape special characters; typeset a minus before a number and powers of ten as formulas."""
    escaped = "".join(LATEX.get(character, character) for character in printable(text))
    # Before the powers, whose minus signs are in formulas already.
    numbers = re.sub(r"(?<![\w.-])-(?=\d)", "$-$", escaped)
    powers = re.sub(r"\b1e-0?(\d+)\b", r"$10^{-\1}$", numbers)
    return re.sub(r"\b(\d)e-0?(\d+)\b", r"$\1 \\times 10^{-\2}$", powers)


def _fits(table: Table, shown: Sequence[int], width: int) -> bool:
    """Whether the shown columns fit, with their free text as short as it can be."""
    widths = _widths(table, shown)
    for i in shown:
        if table.columns[i].free_text:
            widths[i] = min(widths[i], SHORTEST_TEXT)
    return _total(widths) <= width


def _widths(table: Table, shown: Sequence[int]) -> dict[int, int]:
    return {i: max(len(row[i]) for row in [table.heads, *table.rows]) for i in shown}


def _total(widths: dict[int, int]) -> int:
    return sum(widths.values()) + 2 * (len(widths) - 1)


def _grid(table: Table, shown: Sequence[int], width: int) -> str:
    """Return aligned columns two spaces apart, each row on one line with its remark below."""
    widths = _widths(table, shown)
    excess = _total(widths) - width
    for i in shown:
        if table.columns[i].free_text and excess > 0:
            shorter = max(SHORTEST_TEXT, widths[i] - excess)
            excess -= max(0, widths[i] - shorter)
            widths[i] = min(widths[i], shorter)
    rule = "  ".join("-" * widths[i] for i in shown)
    lines = [_text_row(table, table.heads, widths), rule]
    for index, row in enumerate(table.rows):
        lines.append(_text_row(table, row, widths))
        if note := table.row_note(index):
            lines.append(wrap(note, width, "  "))
    return "\n".join(lines)


def _text_row(table: Table, row: Sequence[str], widths: dict[int, int]) -> str:
    cells = []
    for i, width in widths.items():
        cell = _shorten(row[i], width)
        cells.append(cell.ljust(width) if table.columns[i].align == "left" else cell.rjust(width))
    return "  ".join(cells).rstrip()


def _blocks(table: Table, width: int) -> str:
    """Return every row as its first cell and, indented below it, a line for each other cell."""
    labels = table.heads[1:]
    indent = 2 + max(map(len, labels), default=0) + 2
    blocks = []
    for index, (name, *cells) in enumerate(table.rows):
        lines = [wrap(name, width)]
        for label, cell in zip(labels, cells, strict=True):
            first = f"  {label}".ljust(indent)
            lines += textwrap.wrap(
                cell,
                width,
                initial_indent=first,
                subsequent_indent=" " * indent,
                break_on_hyphens=False,
            )
        if note := table.row_note(index):
            lines.append(wrap(note, width, "  "))
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"


def _html_row(table: Table, index: int, right: Sequence[bool]) -> str:
    name, *cells = table.rows[index]
    heading = keep_words_whole(name)
    if note := table.row_note(index):
        heading += Markup("<br><small>{}</small>").format(escape(note))
    others = (_html_cell("td", cell, r) for cell, r in zip(cells, right[1:], strict=True))
    return f"<tr>{_html_cell('th scope=row', heading, right[0])}{''.join(others)}</tr>"


def _html_cell(tag: str, text: str, number: bool) -> str:
    opening = f"{tag} class=n" if number else tag
    return f"<{opening}>{keep_words_whole(text)}</{tag.split()[0]}>"


def _latex_row(cells: Sequence[str]) -> str:
    row = " & ".join(map(latex, cells))
    # LaTeX would take these for an option of the line break before.
    return f"    {'{}' if row.startswith(('[', '*')) else ''}{row} \\\\"


def _latex_note(note: str) -> str:
    return rf"  \par\smallskip{{\footnotesize\raggedright {latex(note)}\par}}"
