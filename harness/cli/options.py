"""Options that several commands share, and the completion of names."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from harness.render.text import brief

if TYPE_CHECKING:
    from harness.registry import Kind
    from harness.workspace import Workspace

Command = TypeVar("Command", bound=Callable[..., Any])
Completion = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


class _Plugin(click.ParamType):
    name = "plugin"
    envvar_list_splitter = os.pathsep  # as in PATH, since a file's name may hold a blank


class WholeNumber(click.IntRange):
    """A whole number within limits, as people write it: Python also reads `1_000` and `١`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and not re.fullmatch(r"[-+]?[0-9]{1,18}", value):
            self.fail(f"{brief(value)!r} is not a whole number, such as 1000", param, ctx)
        return super().convert(value, param, ctx)


_WORKSPACE_OPTIONS = {
    "plugins": click.option(
        "--plugins",
        type=_Plugin(),
        multiple=True,
        metavar="FILE_OR_MODULE",
        envvar="HARNESS_PLUGINS",
        help="Your own pipeline or dataset; may be repeated.  "
        "[default: $HARNESS_PLUGINS, separated as in $PATH]",
    ),
    "config": click.option(
        "--config",
        type=click.Path(path_type=Path),
        help="Settings file.  [default: the nearest mlflow.yaml upward]",
    ),
    "data_root": click.option(
        "--data-root",
        type=click.Path(path_type=Path),
        help="Folder of downloads, prepared datasets and caches.  "
        "[default: $HARNESS_DATA, else the user's cache folder]",
    ),
}


def workspace(*names: str) -> Callable[[Command], Command]:
    """Add the options that open a workspace, and pass it on as the argument `workspace`.

    Parameters
    ----------
    names : str
        Which of plugins, config and data_root to offer; default: all three.
    """
    chosen = names or tuple(_WORKSPACE_OPTIONS)

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def call(*args: Any, **kwargs: Any) -> Any:
            from harness.workspace import Workspace

            where = {name: kwargs.pop(name) for name in chosen}
            return command(*args, workspace=Workspace.open(**where), **kwargs)

        decorated: Any = call
        for name in reversed(chosen):
            decorated = _WORKSPACE_OPTIONS[name](decorated)
        result: Command = decorated
        return result

    return decorate


as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object as the last line."
)
device = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."
)
verbose = click.option(
    "-v", "--verbose", is_flag=True, help="Also print the full specs and the digests."
)
run_missing = click.option("--run-missing", is_flag=True, help="Run any missing pipelines first.")
allow_different_train = click.option(
    "--allow-different-train",
    is_flag=True,
    help="Accept runs that were fitted on different images; a note says so.",
)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value))


def _open_for_completion(ctx: click.Context) -> Workspace:
    """Open the workspace that the options on the line so far describe."""
    from harness.workspace import Workspace

    params = ctx.params
    return Workspace.open(
        config=params.get("config"),
        data_root=params.get("data_root"),
        plugins=params.get("plugins") or (),
    )


def _complete(kind: Kind) -> Completion:
    def complete(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from harness.errors import UserError

        try:
            entries = _open_for_completion(ctx).registry.entries[kind]
        except UserError:
            return []
        return [
            CompletionItem(name, help=entry.summary)
            for name, entry in sorted(entries.items())
            if name.startswith(incomplete)
        ]

    return complete


complete_pipeline = _complete("pipeline")


def complete_run(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete run ids."""
    from harness.errors import UserError
    from harness.runs.run_store import RunStore

    try:
        records = RunStore(_open_for_completion(ctx).runs_folder).all()
    except UserError:
        return []
    ids = [record.run_id for record in records]
    return [CompletionItem(run_id) for run_id in ids if run_id.startswith(incomplete)]


def complete_pipeline_or_run(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete names of pipelines, then run ids."""
    return [*complete_pipeline(ctx, param, incomplete), *complete_run(ctx, param, incomplete)]


def complete_prepared(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete names of prepared datasets below --data-root, if the line gives it already."""
    from harness.data.prepared_dataset import prepared_names
    from harness.data.root import find_data_root

    names = prepared_names(find_data_root(ctx.params.get("data_root")))
    return [CompletionItem(name, help="prepared") for name in names if name.startswith(incomplete)]


def complete_dataset(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete names of datasets, then of prepared ones."""
    return [
        *_complete("dataset")(ctx, param, incomplete),
        *complete_prepared(ctx, param, incomplete),
    ]


dataset = click.option(
    "--dataset",
    metavar="SPEC|PATH",
    shell_complete=complete_dataset,
    help="Name, spec or path.  [default: $HARNESS_DATASET, else digits]",
)


def finished_runs(command: Command) -> Command:
    """Add the options of every command that takes finished runs by id or by pipeline spec."""
    decorated: Any = workspace()(command)
    for option in (as_json, allow_different_train, run_missing, dataset):
        decorated = option(decorated)
    result: Command = decorated
    return result
