"""The directives `pipelines` and `datasets`: all that come with the harness.

They list name and summary, as `harness list` prints them whenever the site is built.
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


class ListDirective(SphinxDirective):
    kind = ""

    def run(self) -> list[nodes.Node]:
        listed = CliRunner().invoke(cli, ["list", "--json"], catch_exceptions=False)
        entries = nodes.definition_list()
        for plugin in json.loads(listed.output.splitlines()[-1]):
            if plugin["kind"] == self.kind:
                term = nodes.term("", "", nodes.literal("", plugin["name"]))
                summary = paragraph(plugin["summary"])
                entries += nodes.definition_list_item("", term, nodes.definition("", summary))
        for node in entries.findall(nodes.Element):
            self.set_source_info(node)
        return [entries]


class PipelinesDirective(ListDirective):
    kind = "pipeline"


class DatasetsDirective(ListDirective):
    kind = "dataset"


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("pipelines", PipelinesDirective)
    app.add_directive("datasets", DatasetsDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
