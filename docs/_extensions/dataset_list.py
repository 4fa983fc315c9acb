"""The `datasets` directive: every dataset that comes with the harness.

It lists name and summary, as `harness list` prints them whenever the site is built.
"""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner
from docutils import nodes
from help_text import paragraph
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from harness.cli import cli


class DatasetsDirective(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        listed = CliRunner().invoke(cli, ["list", "--json"], catch_exceptions=False)
        datasets = nodes.definition_list()
        for plugin in json.loads(listed.output.splitlines()[-1]):
            if plugin["kind"] == "dataset":
                term = nodes.term("", "", nodes.literal("", plugin["name"]))
                summary = paragraph(plugin["summary"])
                datasets += nodes.definition_list_item("", term, nodes.definition("", summary))
        for node in datasets.findall(nodes.Element):
            self.set_source_info(node)
        return [datasets]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("datasets", DatasetsDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
