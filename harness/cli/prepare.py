"""`harness prepare`: decode and resize a source once, into a dataset for `--dataset NAME`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli import options

if TYPE_CHECKING:
    from harness.data.prepared_dataset import PreparedDataset
    from harness.data.sources import ClassLevel, Source
    from harness.workspace import Workspace

FORBIDDEN_IN_NAMES = '/,="~ '


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--name", help="Name of the dataset.  [default: the source's name]")
@click.option(
    "--size",
    type=options.WholeNumber(8),
    default=256,
    show_default=True,
    help="Upper limit of the shorter side, in pixels; smaller images keep their size.",
)
@click.option(
    "--class-level",
    type=click.Choice(["top", "leaves"]),
    default="top",
    show_default=True,
    help="Class folders with sub-folders: join them, or make every folder of images a class.",
)
@click.option(
    "--workers", type=options.WholeNumber(1), help="Threads that decode.  [default: one per core]"
)
@click.option(
    "--plan",
    is_flag=True,
    help="Write nothing; estimate time and space, for SOURCE and for ILSVRC-2012.",
)
@options.workspace("data_root")
@options.as_json
def command(
    source: Path,
    name: str | None,
    size: int,
    class_level: ClassLevel,
    workers: int | None,
    plan: bool,
    workspace: Workspace,
    as_json: bool,
) -> None:
    """Prepare SOURCE, a folder or an archive, as a dataset.

    Known layouts: ILSVRC-2012 or 2010 as downloaded, Kaggle's layout of ILSVRC, imagenet-1k as
    parquet, tar shards, Tiny-ImageNet-200, and class folders. A preparation that is stopped
    continues where it was when the command is repeated.
    """
    from harness.data.loader import usable_cores
    from harness.data.prepare import prepare
    from harness.data.prepare_estimate import source_summary
    from harness.data.sources import open_source
    from harness.progress import progress

    root = workspace.data_root
    if plan:
        _print_estimate(
            open_source(source, class_level), root, size, workers or usable_cores(), as_json
        )
        return
    name = name or source.expanduser().resolve().name.split(".")[0]
    _check_name(workspace, source, name)
    opened = open_source(source, class_level)
    click.echo(f"source     {source} ({source_summary(opened)})")
    prepared = prepare(opened, root, name=name, size=size, workers=workers, progress=progress)
    _print_prepared(prepared, workspace, as_json)


def _print_prepared(prepared: PreparedDataset, workspace: Workspace, as_json: bool) -> None:
    from harness.commands import harness_command

    name, flags = prepared.name, workspace.flags
    megabytes = f"{prepared.size_bytes / 1e6:,.1f} MB"
    click.echo(f"prepared   {prepared.folder} ({megabytes}, {prepared.manifest['preparation']})")
    loaded = workspace.dataset(f"prepared,name={name}")
    splits = {"train": loaded.train, "tune": loaded.tune, "test": loaded.test}
    summary = {}
    for part, split in splits.items():
        if split is not None:
            summary[part] = {"n": len(split), "digest": split.digest}
            click.echo(f"{part:<10} {len(split):>9,} images, digest {split.digest}")
    for note in loaded.dataset_notes:
        click.echo(f"note       {note}")
    unusual = {(part, image) for part, image, _ in prepared.unusual}
    if unusual:
        info = harness_command("data", "info", name, flags=flags)
        click.echo(f"unusual    {len(unusual):,} images, decoded; to list them: {info}")
    run = harness_command("run", "--pipeline", "baseline", "--dataset", name, flags=flags)
    click.echo(f"next       {run}")
    if as_json:
        options.print_json({"name": name, "splits": summary})


def _check_name(workspace: Workspace, source: Path, name: str) -> None:
    """Raise UserError if --dataset would read the name as something else, or if the source is a
    dataset that needs no preparation.
    """
    from harness.commands import harness_command
    from harness.errors import UserError

    datasets = workspace.registry.names("dataset")
    if str(source) in datasets and not source.exists():
        run = harness_command("run", "--dataset", str(source))
        raise UserError(f"{source} needs no preparation: use it as it is ({run})")
    is_taken = not name or name in datasets
    if is_taken or name.startswith(("-", ".")) or not set(name).isdisjoint(FORBIDDEN_IN_NAMES):
        raise UserError(
            f"a prepared dataset cannot be called {name!r}: choose with --name one that is not a "
            f"built-in dataset ({', '.join(datasets)}), does not start with - or ., and contains "
            'no blank and none of / , = " ~'
        )


def _print_estimate(source: Source, root: Path, size: int, workers: int, as_json: bool) -> None:
    from harness.data.prepare_estimate import (
        ILSVRC_2012_IMAGES,
        estimate_lines,
        estimate_preparation,
    )

    estimate = estimate_preparation(source, size=size, workers=workers)
    for line in estimate_lines(estimate, source, root, size):
        click.echo(line)
    if as_json:
        amounts = {
            "source": (estimate.images, estimate.bytes),
            "ilsvrc2012": (ILSVRC_2012_IMAGES, estimate.ilsvrc_2012_bytes),
        }
        estimates = {
            key: {"images": images, "seconds": estimate.seconds(images), "bytes": count}
            for key, (images, count) in amounts.items()
        }
        options.print_json(estimates)
