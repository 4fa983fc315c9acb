"""`harness prepare`: decode a source once, into a dataset that `--dataset NAME` takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli import options

if TYPE_CHECKING:
    from harness.workspace import Workspace


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--name", help="How to call the dataset.  [default: the source's name]")
@click.option(
    "--size",
    type=click.IntRange(8),
    default=256,
    show_default=True,
    help="Pixels of the shorter side; smaller images stay.",
)
@click.option(
    "--workers", type=click.IntRange(1), help="Threads that decode.  [default: one a core]"
)
@click.option(
    "--plan",
    is_flag=True,
    help="Say what it will take, and ILSVRC-2012 at this rate; write nothing.",
)
@options.workspace("data_root")
@options.as_json
def command(
    source: Path,
    name: str | None,
    size: int,
    workers: int | None,
    plan: bool,
    workspace: Workspace,
    as_json: bool,
) -> None:
    """Make a dataset of SOURCE: ILSVRC-2012 or 2010 as downloaded, Kaggle's layout, imagenet-1k parquet, tar shards, Tiny-ImageNet-200,
    or class folders; a folder or an archive. What a killed preparation has done is kept.
    """
    from harness.data.loader import cores
    from harness.data.prepare import prepare
    from harness.data.sources import open_source
    from harness.progress import progress

    root = workspace.data_root
    if plan:
        _plan(open_source(source), root, size, workers or cores(), as_json)
        return
    name = _checked(workspace, source, name or source.expanduser().resolve().name.split(".")[0])
    opened = open_source(source)
    click.echo(
        f"source     {source} ({opened.layout}, {len(opened.class_names)} classes, {len(opened):,} images)"
    )
    store = prepare(opened, root, name=name, size=size, workers=workers, progress=progress)
    click.echo(
        f"store      {store.folder} ({store.bytes / 1e6:,.1f} MB, {store.facts['preparation']})"
    )
    splits = workspace.dataset(f"prepared,name={name}")
    parts = {"train": splits.train, "tune": splits.tune, "test": splits.test}
    for part, split in parts.items():
        if split is not None:
            click.echo(f"{part:<10} {len(split):>9,} images, digest {split.digest}")
    for remark in splits.dataset_notes:
        click.echo(f"note       {remark}")
    root_flag = workspace.flags
    if store.noted:
        click.echo(
            f"noted      {len(store.noted)} unusual images that were decoded: harness data info {name}{root_flag} lists them"
        )
    click.echo(f"next       harness run --pipeline baseline --dataset {name}{root_flag}")
    if as_json:
        facts = {
            part: {"n": len(split), "digest": split.digest}
            for part, split in parts.items()
            if split is not None
        }
        options.print_json({"name": name, "splits": facts})


def _checked(workspace: Workspace, source: Path, name: str) -> str:
    """Raises UserError for a name that `--dataset` would read as something else, and for a source that is a dataset already."""
    from harness.errors import UserError

    datasets = workspace.registry.names("dataset")
    if str(source) in datasets and not source.exists():
        raise UserError(
            f"{source} needs no preparing: give it to --dataset (harness run --dataset {source})"
        )
    if (
        name in datasets
        or not name
        or name.startswith(("-", "."))
        or not set(name).isdisjoint('/,="~ ')
    ):
        raise UserError(
            f"a prepared dataset cannot be called {name!r}: choose with --name one that is no built-in dataset "
            f'({", ".join(datasets)}) and has no blank and none of / , = " ~ in it'
        )
    return name


def _plan(opened: object, root: Path, size: int, workers: int, as_json: bool) -> None:
    from harness.data.prepare_estimate import ILSVRC_2012, plan, plan_lines
    from harness.data.sources import Source

    source: Source = opened  # type: ignore[assignment]
    made = plan(source, size=size, workers=workers)
    for line in plan_lines(made, source, root, size):
        click.echo(line)
    if as_json:
        counts = {
            "source": (made.images, made.bytes),
            "ilsvrc2012": (ILSVRC_2012, made.ilsvrc_2012_bytes),
        }
        options.print_json(
            {
                what: {"images": n, "seconds": made.seconds(n), "bytes": size}
                for what, (n, size) in counts.items()
            }
        )
