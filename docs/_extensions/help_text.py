"""Help texts of the program as docutils nodes, with `code` in backticks."""

from __future__ import annotations

from docutils import nodes


def paragraph(text: str) -> nodes.paragraph:
    joined = " ".join(text.replace("\b", "").split())
    result = nodes.paragraph(joined)
    for position, piece in enumerate(joined.split("`")):
        in_backticks = position % 2 == 1
        result += nodes.literal("", piece) if in_backticks else nodes.Text(piece)
    return result
