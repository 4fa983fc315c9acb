"""The command line: one file per command, imported only when called."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from typing import NoReturn, TextIO

import click

# One line per command, here so that `--help` imports none of them.
COMMANDS = {
    "run": "Fit and score a pipeline on a dataset; log it.",
    "compare": "The before/after table of two or more pipelines.",
    "report": "The comparison as a page, with pictures.",
    "ensemble": "Average finished runs into one.",
    "rescore": "Score a finished run again at other views.",
    "list": "Available pipelines and datasets.",
    "show": "A pipeline's parameters and a network's layers.",
    "check": "Test that a pipeline keeps the contract.",
    "runs": "Runs on record: list them, remove them.",
    "prepare": "Make a dataset of ILSVRC, parquet, shards or folders.",
    "data": "Prepared datasets: list, info, verify, audit, rm.",
    "plan": "Hours, disk and memory that a run will take.",
    "predict": "Top-5 classes of your own images, by a finished run.",
    "sync": "Send to MLflow the runs that it lacks.",
    "ui": "Open MLflow on the table of runs.",
}


class LazyGroup(click.Group):
    """A group whose commands are the modules beside this file."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]  # once its command is imported, `list` is a module here

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return import_module(f"harness.cli.{name}").command if name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(args[0], COMMANDS, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise click.UsageError(
                f"no command is called {args[0]!r}{hint}; available: {', '.join(COMMANDS)}"
            )
        _refuse_empty(args)
        return super().resolve_command(ctx, args)


def _refuse_empty(args: list[str]) -> None:
    """Raise for an empty value, such as that of an unset variable: it is not the default."""
    for before, argument in zip(["", *args], args, strict=False):
        option, equals, value = argument.partition("=")
        if not argument or (option.startswith("--") and equals and not value):
            option = option or before
            subject = f"the value of {option}" if option.startswith("-") else "an argument"
            raise click.UsageError(f"{subject} is empty; give a value or leave it out")


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="before-after-harness")
def cli() -> None:
    """Compare hand-crafted and learned image classifiers on identical splits."""


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 failure, 2 the user's mistake, 130 Ctrl-C."""
    from harness.cli.streams import protect_streams

    protect_streams()
    warnings.showwarning = _show_warning
    try:
        # The value is None, or the code of click's Exit.
        code = cli.main(prog_name="harness", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        _fail("stopped", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        from harness.cli.failures import explain_failure

        _fail(*explain_failure(error))
    _require_written()
    sys.exit(code)


def _require_written() -> None:
    """Fail if the output could not be written, other than to a reader that has seen enough."""
    from harness.cli.streams import output_failure, reader_is_gone

    sys.stdout.flush()
    failure = output_failure()
    if failure and not reader_is_gone():
        _fail(f"cannot write to standard output: {failure.strerror}", 1)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning: what is said of records in one line, others as Python does."""
    from harness.errors import RecordWarning
    from harness.render.text import printable_lines

    if issubclass(category, RecordWarning):
        click.echo(f"harness: {printable_lines(str(message))}", err=True)
    else:
        text = warnings.formatwarning(message, category, filename, lineno, line)
        click.echo(text, err=True, nl=False)


def _fail(message: str, code: int) -> NoReturn:
    from harness.render.text import printable_lines

    click.echo(f"harness: {printable_lines(message)}", err=True)
    sys.exit(code)
