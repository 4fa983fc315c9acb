"""The pieces of a self-contained page: one file with its style and pictures, nothing fetched."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from string import ascii_uppercase

import markupsafe
from markupsafe import Markup

from harness.render.text import printable

COLORS = 6  # r0 to r5 of page.css
LONGEST_WORD = 16  # letters of a hyphenated word that is kept on one line


def escape(text: str) -> Markup:
    """Escape text for a page, and what is not seen in it; Markup stays as it is.

    A number keeps its percent sign beside it at the end of a line.
    """
    if isinstance(text, Markup):
        return text
    return Markup(str(markupsafe.escape(printable(text))).replace(" %", "\u00a0%"))


def keep_words_whole(text: str) -> Markup:
    """Escape text, and keep short hyphenated words such as top-1 whole in a narrow column."""
    if isinstance(text, Markup):
        return text
    return Markup(re.sub(r"(?<!\S)\w[\w.]*(-\w+)+(?!\S)", _unbreakable, str(escape(text))))


def _unbreakable(word: re.Match[str]) -> str:
    return f"<span class=whole>{word[0]}</span>" if len(word[0]) <= LONGEST_WORD else word[0]


def sentence(text: str) -> str:
    """Return a remark with a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def chip(row: int) -> Markup:
    """Return the sign of a row of the table: its letter, A for the reference, on its color."""
    letter = ascii_uppercase[row % len(ascii_uppercase)]
    return Markup(f'<i class="chip r{row % COLORS}">{letter}</i>')


def document(title: str, body: str) -> str:
    """Return the page.

    Parameters
    ----------
    title : str
    body : str
        HTML with all landmarks; the main one has the id `main`.
    """
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{_style()}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
{body}
</body>
</html>
"""


@cache
def _style() -> str:
    return (files("harness.render") / "page.css").read_text(encoding="utf-8")


def folded(summary: str, body: str) -> Markup:
    """Hide content behind a summary that opens at a click, without a script."""
    return Markup(f"<details><summary>{escape(summary)}</summary>\n{body}\n</details>")


def side_by_side(*parts: str) -> Markup:
    """Put pieces of HTML next to each other where there is room."""
    cells = "\n".join(f"<div>{part}</div>" for part in parts)
    return Markup(f'<div class="beside">\n{cells}\n</div>')


def bullets(lines: Sequence[str]) -> Markup:
    """Return a list with one item per line."""
    items = "\n".join(f"<li>{escape(line)}</li>" for line in lines)
    return Markup(f"<ul>\n{items}\n</ul>")
