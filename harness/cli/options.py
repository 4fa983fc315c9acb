"""Options that several commands share, and the completion of names."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem


class _Plugin(click.ParamType):
    name = "plugin"
    envvar_list_splitter = os.pathsep  # as in PATH: a file's name may hold a blank


plugins = click.option(
    "--plugins",
    type=_Plugin(),
    multiple=True,
    metavar="FILE_OR_MODULE",
    envvar="HARNESS_PLUGINS",
    help="A pipeline or dataset of yours; may be repeated. Default: $HARNESS_PLUGINS, several as in $PATH.",
)
config = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Settings file; default: the nearest mlflow.yaml upward.",
)
data_root = click.option(
    "--data-root", type=click.Path(path_type=Path), help="Folder of downloads, stores and caches."
)
as_json = click.option(
    "--json", "as_json", is_flag=True, help="Last line of output: one JSON object."
)


def _complete(kind: str) -> Callable[..., list[CompletionItem]]:
    def complete(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from harness.errors import UserError
        from harness.registry import Registry

        try:
            entries = Registry(ctx.params.get("plugins") or ()).entries[kind]  # type: ignore[index]
        except UserError:
            return []
        return [
            CompletionItem(name, help=entry.summary)
            for name, entry in sorted(entries.items())
            if name.startswith(incomplete)
        ]

    return complete


def complete_run(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from harness.errors import UserError
    from harness.runs.run_store import RunStore
    from harness.settings import load_settings

    try:
        records = RunStore(load_settings().runs).all()
    except UserError:
        return []
    return [
        CompletionItem(record.run_id) for record in records if record.run_id.startswith(incomplete)
    ]


def complete_pipeline_or_run(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    return [*complete_pipeline(ctx, param, incomplete), *complete_run(ctx, param, incomplete)]


def complete_prepared(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names below --data-root, where the line has it so far."""
    from harness.data.root import data_root
    from harness.data.store import store_names

    names = store_names(data_root(ctx.params.get("data_root")))
    return [CompletionItem(name, help="prepared") for name in names if name.startswith(incomplete)]


def complete_dataset(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    return [
        *_complete("dataset")(ctx, param, incomplete),
        *complete_prepared(ctx, param, incomplete),
    ]


complete_pipeline = _complete("pipeline")
dataset = click.option(
    "--dataset",
    metavar="SPEC|PATH",
    shell_complete=complete_dataset,
    help="Default: $HARNESS_DATASET, else digits.",
)

run_missing = click.option(
    "--run-missing", is_flag=True, help="First make the runs that there are not yet."
)
allow_different_train = click.option(
    "--allow-different-train",
    is_flag=True,
    help="Take runs that learned from different images; the table says so.",
)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value))


def of_finished_runs(command: Callable[..., Any]) -> Callable[..., Any]:
    """What every command takes that is given finished runs, by id or by pipeline spec."""
    for option in (
        as_json,
        data_root,
        config,
        plugins,
        allow_different_train,
        run_missing,
        dataset,
    ):
        command = option(command)
    return command
