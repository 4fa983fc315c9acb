"""The `command` directive: the help of a command, read from click whenever the site is built.

`{command} run` renders the usage line, the description and one entry per option of `harness run`.
The subcommands of a group follow it as sections of their own.
"""

from __future__ import annotations

from typing import Any

import click
from docutils import nodes
from help_text import paragraph
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from harness.cli import cli


class CommandDirective(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        with click.Context(cli, info_name="harness") as parent:
            command = cli.get_command(parent, name)
            if command is None:
                raise self.error(f"harness has no command {name!r}")
            content = self._help(command, click.Context(command, parent, info_name=name))
        for node in content:
            for element in node.findall(nodes.Element):
                self.set_source_info(element)
        return content

    def _help(self, command: click.Command, context: click.Context) -> list[nodes.Node]:
        usage = context.get_usage().removeprefix("Usage: ")
        content: list[nodes.Node] = [nodes.literal_block(usage, usage, language="text")]
        content += [paragraph(text) for text in (command.help or "").split("\n\n") if text.strip()]
        content.append(_options(command, context))
        if isinstance(command, click.Group):
            content += [self._subcommand(command, context, name) for name in command.commands]
        return content

    def _subcommand(self, group: click.Group, context: click.Context, name: str) -> nodes.section:
        command = group.commands[name]
        child = click.Context(command, context, info_name=name)
        title = child.command_path
        section = nodes.section(ids=[nodes.make_id(title)], names=[title])
        section += nodes.title(title, "", nodes.literal(title, title))
        section += self._help(command, child)
        self.state.document.note_implicit_target(section)
        return section


def _options(command: click.Command, context: click.Context) -> nodes.definition_list:
    """Return one entry per option; a definition list stays readable on a narrow screen."""
    options = nodes.definition_list(classes=["options"])
    for parameter in command.get_params(context):
        flags, text = parameter.get_help_record(context) or ("", "")
        if text and "--help" not in parameter.opts:
            term = nodes.term("", "", nodes.literal(flags, flags))
            options += nodes.definition_list_item("", term, nodes.definition("", paragraph(text)))
    return options


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("command", CommandDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
