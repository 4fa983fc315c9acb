"""One table in every form, and as text within any width."""

from __future__ import annotations

import csv
import io
import re
import sys
from html import unescape

import pytest
from markupsafe import Markup

from harness.render.table import (
    UNLIMITED,
    Column,
    Table,
    csv_cell,
    latex,
    markdown,
    terminal_width,
    wrap,
)
from harness.render.text import printable

WIDTHS = (80, 120, 200)
WIDE = Table(
    ["pipeline", "top-1 error", *(Column(f"figure {i}", priority=i) for i in range(1, 9))],
    [[f"pipeline-{row}", "12.35 %", *("[10.20, 14.80]",) * 8] for row in range(4)],
    notes=["a note that is rather long " * 8],
    caption="Results",
    row_notes=["", "recipe: short; " * 10, "", ""],
)


def test_columns_are_aligned_and_rules_as_wide_as_they() -> None:
    table = Table(["name", "error"], [["hog-svm", "5.00 %"], ["a", "-"]])
    assert table.to_text(80).splitlines() == [
        "name      error",
        "-------  ------",
        "hog-svm  5.00 %",
        "a             -",
    ]


@pytest.mark.parametrize("width", [40, *WIDTHS])
def test_no_line_is_longer_than_the_width(width: int) -> None:
    assert max(map(len, WIDE.to_text(width).splitlines())) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_a_row_is_never_broken_in_its_middle(width: int) -> None:
    lines = WIDE.to_text(width).splitlines()
    rows = [line for line in lines if line.startswith("pipeline-")]
    assert len(rows) == 4
    assert len({len(row.split("  ")) for row in rows}) == 1
    assert all("12.35 %" in row for row in rows)


def test_columns_of_low_priority_are_hidden_first_and_named() -> None:
    shown = [column.head for column in WIDE.columns]
    lines = WIDE.to_text(80).splitlines()
    heads = re.split("  +", lines[2])
    assert heads == shown[: len(heads)]
    hidden = " ".join(WIDE.to_text(80).split()).split("hidden at this width: ")[1]
    assert hidden.startswith(", ".join(shown[len(heads) :]))
    assert "hidden" not in WIDE.to_text(200)


def test_rows_become_blocks_where_hiding_is_not_enough() -> None:
    table = Table(
        ["pipeline", "top-1 error", Column("what it is", "left", priority=1)],
        [["sift-fisher,words=256", "12.35 %", "a long text " * 4], ["hog-svm", "13 %", ""]],
        row_notes=["recipe: short", ""],
    )
    assert table.to_text(30).splitlines() == [
        "sift-fisher,words=256",
        "  top-1 error  12.35 %",
        "  what it is   a long text a",
        "               long text a",
        "               long text a",
        "               long text",
        "  (recipe: short)",
        "",
        "hog-svm",
        "  top-1 error  13 %",
    ]


def test_free_text_is_shortened_before_columns_are_hidden() -> None:
    columns = ["name", Column("seconds", priority=1), Column("summary", "left", free_text=True)]
    text = Table(columns, [["a", "1.0", "words " * 30]]).to_text(60)
    assert "seconds" in text
    assert "hidden" not in text
    assert text.splitlines()[2].endswith("…")
    assert max(map(len, text.splitlines())) <= 60


def test_notes_of_a_row_are_below_it_and_notes_of_the_table_at_the_end() -> None:
    table = Table(["name"], [["a"], ["b"]], notes=["the end"], caption="T", row_notes=["", "x"])
    assert table.to_text(80) == "T\n\nname\n----\na\nb\n  (x)\n\nthe end"


def test_the_width_is_that_of_columns_or_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "97")
    assert terminal_width() == 97
    assert max(map(len, WIDE.to_text().splitlines())) <= 97
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert terminal_width() == UNLIMITED
    assert "hidden" not in WIDE.to_text()


def test_long_words_such_as_run_ids_stay_whole() -> None:
    assert wrap("see run-0123456789abcdef now", 12).splitlines() == [
        "see",
        "  run-0123456789abcdef",
        "  now",
    ]


def test_markdown_escapes_cells_and_keeps_the_notes_of_a_row() -> None:
    table = Table(["name", "p"], [["a|b", "<0.1"]], notes=["n | m"], row_notes=["x <y>"])
    assert table.to_markdown().splitlines() == [
        "| name | p |",
        "| :--- | ---: |",
        "| a\\|b<br><small>(x &lt;y>)</small> | &lt;0.1 |",
        "",
        "- n \\| m",
    ]
    assert markdown("a | <b>") == "a \\| &lt;b>"


def test_html_has_headings_a_caption_and_escaped_text() -> None:
    html = Table(
        ["name", "top-1 error", Column("", "left")],
        [["<a>", "5 %", Markup("<i></i>")]],
        caption="What & why",
        row_notes=["note"],
    ).to_html()
    assert html.count("<th scope=col") == 2
    assert "<th scope=row>&lt;a&gt;<br><small>(note)</small></th>" in html
    assert "<td class=n>5\u00a0%</td><td><i></i></td>" in html
    assert "<caption class=unseen>What &amp; why</caption>" in html
    assert "<span class=whole>top-1</span> error" in html
    assert "<thead>" not in Table(["", ""], [["a", "b"]], caption="no heads").to_html()


def test_latex_has_as_many_columns_in_every_row() -> None:
    table = Table(["a", Column("b", "left")], [["1", "x & y"]], caption="50 %", row_notes=["n_1"])
    text = table.to_latex("results")
    assert r"\begin{tabular}{ll}" in text
    assert r"    1 & x \& y \\" in text
    assert r"\caption{50 \%}" in text
    assert r"\label{tab:results}" in text
    assert r"1 (n\_1)\par" in text


def test_numbers_are_typeset_as_numbers() -> None:
    assert latex("-0.60") == "$-$0.60"
    assert latex("[-2.00, 0.60]") == "[$-$2.00, 0.60]"
    assert latex("3e-12") == r"$3 \times 10^{-12}$"
    assert latex("1e-05") == r"$10^{-5}$"
    assert latex("< 1e-99") == r"\textless{} $10^{-99}$"
    assert latex("hog-svm, 2011-2012") == "hog-svm, 2011-2012"


def test_csv_can_be_read_back() -> None:
    rows = [["a, b", '"quoted"'], ["c", ""]]
    assert list(csv.reader(io.StringIO(Table(["x", "y"], rows).to_csv()))) == [["x", "y"], *rows]


def test_a_number_keeps_its_percent_sign_when_prose_is_wrapped() -> None:
    assert wrap("an error of 1.60 % on tune", 17).splitlines() == [
        "an error of",
        "  1.60 % on tune",
    ]


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", r"\t=1"),
        ("\r=1", r"\r=1"),
        (" =1", "' =1"),
        ("＝1", "'＝1"),
        *[(text, text) for text in ("-42.86", "+0.00", "-1e-05", "-inf", "nan", "3", "-", "")],
        ("hog-svm", "hog-svm"),
        ("a=b", "a=b"),
    ],
)  # fmt: skip
def test_a_spreadsheet_shows_text_and_keeps_numbers(text: str, cell: str) -> None:
    assert csv_cell(text) == cell
    rows = list(csv.reader(io.StringIO(Table(["a", "b"], [[text, '1,"2"']]).to_csv())))
    assert rows == [["a", "b"], [cell, '1,"2"']]


@pytest.mark.parametrize(
    "name",
    [
        "a|b", r"a\|b", "a\\", "`|`", "<script>alert(1)</script>", "*x* _y_ __z__", "[t](u)",
        "$x^2$~~s~~", "R&D_50%", "&lt;b&gt;", "two\nlines", "# title", "\\`<b>`",
    ],
)  # fmt: skip
def test_markdown_shows_every_name_as_it_is(name: str) -> None:
    """markdown-it is what the documentation is built with."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("gfm-like", {"linkify": False})
    html = parser.render(Table(["name", "n"], [[name, "1"]]).to_markdown())
    cells = re.findall(r"<td[^>]*>(.*?)</td>", html)
    assert len(cells) == 2
    assert unescape(cells[0]) == printable(name)
    paragraph = parser.render(markdown(name))
    assert paragraph == f"<p>{cells[0]}</p>\n"


def test_latex_takes_no_cell_for_an_option_of_a_line_break() -> None:
    text = Table(["name", "n"], [["[1ex]", "1"], ["*", "2"], [r"\input{x}", "3"]]).to_latex("t")
    assert "    {}[1ex] & 1 " in text
    assert "    {}* & 2 " in text
    assert r"\textbackslash{}input\{x\}" in text


def test_a_table_shows_control_characters_escaped_in_every_format() -> None:
    table = Table(["a", "b"], [["\x1b[31m\u202e", "no\N{NO-BREAK SPACE}break"]], notes=["n\x07"])
    for text in (table.to_text(80), table.to_text(5), table.to_markdown(), table.to_latex("x")):
        assert all(c.isprintable() or c in "\n\N{NO-BREAK SPACE}" for c in text)
        assert "x1b[31m" in text
    assert r"\x1b[31m\u202e" in table.to_html()
    assert r"\x07" in table.to_html()
