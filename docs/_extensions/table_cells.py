"""Where the cells of tables may break on a narrow screen.

A number and its unit, and the two ends of an interval, stay on one line: `22.92 [22.11, 23.75]`
breaks before the bracket only. A spec such as `alexnet,recipe=2012,epochs=60` breaks after commas.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

KEPT_SPACES = re.compile(
    r"(?<=\d) (?=%|(?:h|min|ms|s|M|MB|kB|GB)\b)"  # 1.2 %, 46.2 MB, 12 min
    r"|(?<=h|n) (?=\d+ (?:min|s)\b)"  # 1 h 02 min, 12 min 27 s
    r"|(?<=,) (?=[+−-]?[\d.]+\])"  # [22.11, 23.75]
    r"|(?<=±) | (?=±)|(?<=×) | (?=×)|(?<=<) "
)
KEPT_HYPHENS = re.compile(r"(?<=\d)e-(?=\d)|(?<=\d)-(?=\d\d-\d\d|\d\d\b)")  # 1e-99, 2026-11-25


class TableCells(SphinxPostTransform):
    default_priority = 500

    def run(self, **kwargs: Any) -> None:
        for cell in self.document.findall(nodes.entry):
            for text in list(cell.findall(nodes.Text)):
                text.parent.replace(text, nodes.Text(_unbroken(text)))
            for literal in list(cell.findall(nodes.literal)):
                _break_after_commas(literal)


def _unbroken(text: str) -> str:
    text = KEPT_SPACES.sub("\N{NO-BREAK SPACE}", text)
    return KEPT_HYPHENS.sub(lambda match: match[0].replace("-", "\u2060-\u2060"), text)


def _break_after_commas(literal: nodes.literal) -> None:
    first, *others = literal.astext().split(",")
    literal.children = []
    literal += nodes.Text(first)
    for piece in others:
        literal += [nodes.Text(","), nodes.raw("", "<wbr>", format="html"), nodes.Text(piece)]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_post_transform(TableCells)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
