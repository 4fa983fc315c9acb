"""The `plugins` directive: every pipeline or dataset that comes with the harness.

`{plugins} pipeline` lists name, family and summary, as `harness list` prints them whenever the
site is built.
"""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from harness.cli import cli


class PluginsDirective(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        listed = CliRunner().invoke(cli, ["list", "--json"], catch_exceptions=False)
        plugins = nodes.definition_list()
        for plugin in json.loads(listed.output.splitlines()[-1]):
            if plugin["kind"] != self.arguments[0]:
                continue
            term = nodes.term("", "", nodes.literal("", plugin["name"]))
            if plugin["kind"] == "pipeline":
                term += nodes.classifier("", plugin["family"])
            summary = nodes.paragraph("", plugin["summary"])
            plugins += nodes.definition_list_item("", term, nodes.definition("", summary))
        for node in plugins.findall(nodes.Element):
            self.set_source_info(node)
        return [plugins]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("plugins", PluginsDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
