"""`harness data`: list, inspect, verify, audit and remove prepared datasets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli import options

if TYPE_CHECKING:
    from harness.data.prepared_dataset import PreparedDataset
    from harness.workspace import Workspace


@click.group()
def command() -> None:
    """List, inspect, verify, audit and remove prepared datasets."""


@command.command(name="list")
@options.workspace("data_root")
@options.as_json
def list_(workspace: Workspace, as_json: bool) -> None:
    """List prepared datasets, and preparations that did not finish."""
    from harness.commands import harness_command
    from harness.data.prepared_dataset import unfinished_folders
    from harness.render.table import Column, Table

    datasets, damage = _open_all(workspace)
    head = [
        Column("dataset", "left"),
        Column("images", "left"),
        Column("classes"),
        Column("pixels", priority=1),
        Column("codec", "left", priority=3),
        Column("MB", priority=2),
        Column("layout", "left", priority=4),
    ]
    rows = [_table_row(prepared) for prepared in datasets]
    if rows or not damage:
        click.echo(Table(head, rows).to_text() if rows else _nothing_prepared(workspace))
    for reason in damage:
        click.echo(f"damaged    {reason}")
    for folder in unfinished_folders(workspace.data_root):
        remove = harness_command("data", "rm", folder.name, flags=workspace.flags)
        click.echo(
            f"unfinished {folder.name} ({_megabytes(_folder_bytes(folder))}): prepare the same "
            f"source again to continue, or remove it: {remove}"
        )
    if as_json:
        sizes = [{"name": p.name, "bytes": p.size_bytes, **_summary(p)} for p in datasets]
        options.print_json(sizes)


def _open_all(workspace: Workspace) -> tuple[list[PreparedDataset], list[str]]:
    """Return the prepared datasets, and a message for each that is damaged."""
    from harness.errors import UserError

    datasets, damage = [], []
    for name in _names(workspace):
        try:
            datasets.append(_open(name, workspace))
        except UserError as error:
            damage.append(str(error))
    return datasets, damage


def _table_row(prepared: PreparedDataset) -> list[str]:
    manifest = prepared.manifest
    counts = [f"{part} {content['n']:,}" for part, content in manifest["parts"].items()]
    return [
        prepared.name,
        " + ".join(counts),
        str(len(manifest["class_names"])),
        str(manifest["size"]),
        manifest["codec"],
        f"{prepared.size_bytes / 1e6:,.1f}",
        manifest["layout"],
    ]


@command.command()
@click.argument("name", shell_complete=options.complete_prepared)
@options.workspace("data_root")
@options.as_json
def info(name: str, workspace: Workspace, as_json: bool) -> None:
    """Show digests, training subsets, and undecodable or unusual images."""
    from harness.data.splitting import TRAIN_PERCENTS
    from harness.render.text import printable
    from harness.spec import format_spec

    prepared = _open(name, workspace)
    manifest = prepared.manifest
    for label, key in (("source", "source"), ("layout", "layout"), ("prepared", "preparation")):
        click.echo(f"{label:<10} {printable(str(manifest[key]))}")
    for part, content in manifest["parts"].items():
        click.echo(f"{part:<10} {content['n']:>9,} images, digest {content['digest']}")
    subsets = {}
    for percent in TRAIN_PERCENTS:
        spec = format_spec("prepared", {"name": name, "train_percent": percent})
        train = workspace.dataset(spec, tune=0).train
        subsets[percent] = {"n": len(train), "digest": train.digest}
        click.echo(f"{percent:>3} % train {len(train):>9,} images, digest {train.digest}")
    listed = {"undecodable": prepared.undecodable, "unusual": prepared.unusual}
    for label, images in listed.items():
        click.echo(f"{label:<11} {len(images)}")
        for part, image, reason in images:
            click.echo(f"  {part}: {printable(image)}: {printable(reason)}")
    if as_json:
        options.print_json({"name": name, **_summary(prepared), "subsets": subsets, **listed})


@command.command()
@click.argument("names", nargs=-1, shell_complete=options.complete_prepared)
@options.workspace("data_root")
def verify(names: tuple[str, ...], workspace: Workspace) -> None:
    """Compare every file with its checksum, and the rows with their digest.

    NAMES are prepared datasets; default: all.
    """
    from harness.errors import UserError

    known = _names(workspace)
    if not (names or known):
        click.echo(_nothing_prepared(workspace))
    is_damaged = False
    for name in names or known:
        try:
            damage = _open(name, workspace).find_damage()
        except UserError as error:
            if name not in known:
                raise
            damage = [str(error)]
        is_damaged |= bool(damage)
        click.echo(f"{name}: {'; '.join(damage) or 'no damage'}")
    if is_damaged:
        raise click.exceptions.Exit(1)


@command.command()
@click.argument("dataset", shell_complete=options.complete_dataset)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("audit.html"),
    show_default=True,
    help="The page to write.",
)
@options.workspace("data_root")
@options.as_json
def audit(dataset: str, out: Path, workspace: Workspace, as_json: bool) -> None:
    """Write a page of class balance, image sizes and duplicates.

    Exact and near duplicates are shown side by side. DATASET is the name of a prepared dataset or
    any other value of --dataset.
    """
    from harness.data.audit import audit
    from harness.errors import UserError
    from harness.files import write_atomic
    from harness.report.audit_page import audit_page

    if not out.absolute().parent.is_dir() or out.is_dir():
        raise UserError(f"--out {out} must be a file in an existing folder")
    splits = workspace.dataset(dataset, tune=0)
    audited = audit(splits.title, splits.train, splits.test)
    lists = []
    if dataset in _names(workspace):
        prepared = _open(dataset, workspace)
        lists = [("Undecodable", prepared.undecodable), ("Unusual, but decoded", prepared.unusual)]
    page = audit_page(audited, dataset_notes=splits.dataset_notes, lists=lists)
    write_atomic(out, lambda file: file.write(page.encode()))
    pair_counts = audited.pair_counts()
    for kind, counts in pair_counts.items():
        located = ", ".join(f"{location}: {count:,}" for location, count in counts.items())
        click.echo(f"{kind:<6} {located}")
    click.echo(f"page   {out.resolve()}")
    if as_json:
        options.print_json({"dataset": dataset, "page": str(out.resolve()), "pairs": pair_counts})


@command.command()
@click.argument("names", nargs=-1, required=True, shell_complete=options.complete_prepared)
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.workspace("data_root")
def rm(names: tuple[str, ...], yes: bool, workspace: Workspace) -> None:
    """Remove prepared datasets and unfinished preparations.

    The sources are kept.
    """
    import shutil

    from harness.data.prepared_dataset import (
        MANIFEST,
        find_prepared_folder,
        unfinished_folders,
    )

    unfinished = [f for f in unfinished_folders(workspace.data_root) if f.name in names]
    complete_names = [name for name in names if name not in {f.name for f in unfinished}]
    folders = [find_prepared_folder(workspace.data_root, name) for name in complete_names]
    if not yes:
        total = sum(map(_folder_bytes, [*folders, *unfinished]))
        click.confirm(f"Remove {', '.join(names)} ({_megabytes(total)})?", abort=True)
    for folder in unfinished:
        _remove_unfinished(folder)
    for folder in folders:
        # The manifest goes first, so that a dataset that is removed in part no longer counts.
        (folder / MANIFEST).unlink()
        shutil.rmtree(folder)
        click.echo(f"removed {folder}")


def _remove_unfinished(folder: Path) -> None:
    """Remove an unfinished preparation; raise UserError if another process continues it."""
    import shutil

    from filelock import Timeout

    from harness.data.prepared_dataset import UNFINISHED_PREFIX
    from harness.data.unfinished import preparation_lock
    from harness.errors import UserError

    finished = folder.with_name(folder.name.removeprefix(UNFINISHED_PREFIX))
    try:
        with preparation_lock(finished, timeout=0):
            shutil.rmtree(folder)
    except Timeout as error:
        raise UserError(f"{folder} is being prepared by another process; stop it first") from error
    click.echo(f"removed {folder}")


def _names(workspace: Workspace) -> list[str]:
    from harness.data.prepared_dataset import prepared_names

    return prepared_names(workspace.data_root)


def _open(name: str, workspace: Workspace) -> PreparedDataset:
    from harness.data.prepared_dataset import open_prepared

    return open_prepared(workspace.data_root, name)


def _nothing_prepared(workspace: Workspace) -> str:
    from harness.commands import harness_command

    prepare = harness_command("prepare", "SOURCE", flags=workspace.flags)
    return f"no dataset is prepared in {workspace.data_root}; to prepare one: {prepare}"


def _summary(prepared: PreparedDataset) -> dict[str, Any]:
    manifest = prepared.manifest
    keys = ("layout", "source", "size", "codec", "preparation")
    splits = {
        part: {"n": content["n"], "digest": content["digest"]}
        for part, content in manifest["parts"].items()
    }
    return {**{key: manifest[key] for key in keys}, "splits": splits}


def _folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*"))


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
