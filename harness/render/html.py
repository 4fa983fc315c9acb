"""The pieces of a page that is whole in itself: one file, style and pictures included, nothing fetched."""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Sequence
from functools import cache
from importlib.resources import files
from string import ascii_uppercase

COLORS = 6  # r0 to r5 of the style
WORD = 16  # letters


class Html(str):
    """Text that is HTML already; any other is escaped where it enters a page."""


def escaped(text: str) -> Html:
    """A number keeps its percent sign beside it at the end of a line."""
    return text if isinstance(text, Html) else Html(html.escape(text).replace(" %", "\u00a0%"))


def sentence(text: str) -> str:
    """A remark as it stands in running text."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def chip(row: int) -> Html:
    """The sign of a row of the table: its letter, A for the reference, on its color."""
    return Html(
        f'<i class="chip r{row % COLORS}">{ascii_uppercase[row % len(ascii_uppercase)]}</i>'
    )


def document(title: str, body: str) -> str:
    """The page. `body` holds the landmarks: what comes before and after the main part, and that with the id `main`."""
    style = _style()
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escaped(title)}</title>
<style>
{style}</style>
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


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str,
    numbers: Collection[int] = (),
) -> Html:
    """A table that scrolls inside its own box where the page is narrower; the first cell of each row is its heading.

    caption  what the table holds, for those who do not see it
    numbers  columns that are set flush right
    """

    def cell(tag: str, index: int, text: str) -> str:
        return (
            f"<{tag}{' class=n' if index in numbers else ''}>{_unbroken(text)}</{tag.split()[0]}>"
        )

    heads = "".join(cell("th scope=col" if text else "td", i, text) for i, text in enumerate(head))
    lines = [
        "<tr>"
        + "".join(cell("td" if i else "th scope=row", i, text) for i, text in enumerate(row))
        + "</tr>"
        for row in rows
    ]
    return Html(
        f'<div class="wide" role="region" aria-label="{escaped(caption)}" tabindex="0"><table><caption class=unseen>{escaped(caption)}</caption>'
        f"{f'<thead><tr>{heads}</tr></thead>' if head else ''}\n<tbody>\n"
        + "\n".join(lines)
        + "\n</tbody></table></div>"
    )


def _unbroken(text: str) -> str:
    """Short words with hyphens, such as top-1 and hog-svm, are not broken where a column is narrow."""
    return (
        text
        if isinstance(text, Html)
        else re.sub(r"(?<!\S)\w[\w.]*(-\w+)+(?!\S)", _whole, escaped(text))
    )


def _whole(word: re.Match[str]) -> str:
    return f"<span class=whole>{word[0]}</span>" if len(word[0]) <= WORD else word[0]


def folded(summary: str, body: str) -> Html:
    """Shown at a click, without a script."""
    return Html(f"<details><summary>{escaped(summary)}</summary>\n{body}\n</details>")


def beside(*parts: str) -> Html:
    """Next to each other where there is room."""
    return Html(
        '<div class="beside">\n' + "\n".join(f"<div>{part}</div>" for part in parts) + "\n</div>"
    )


def bullets(lines: Sequence[str]) -> Html:
    return Html("<ul>\n" + "\n".join(f"<li>{escaped(line)}</li>" for line in lines) + "\n</ul>")
