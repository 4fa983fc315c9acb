"""`harness data`: prepared datasets; list, look into, verify, audit and remove them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli import options

if TYPE_CHECKING:
    from harness.data.store import Store
    from harness.workspace import Workspace


@click.group()
def command() -> None:
    """Prepared datasets: list them, check them, look into them, remove them."""


@command.command(name="list")
@options.workspace("data_root")
@options.as_json
def list_(workspace: Workspace, as_json: bool) -> None:
    """Names, sizes and sources of what was prepared, and what preparations that were stopped have left."""
    from harness.data.store import unfinished
    from harness.render.text import text_table

    stores = [_store(name, workspace) for name in _names(workspace)]
    rows = [
        [
            s.folder.name, " + ".join(f"{part} {facts['n']:,}" for part, facts in s.facts["parts"].items()),
            str(len(s.facts["class_names"])), str(s.facts["size"]), s.facts["codec"], f"{s.bytes / 1e6:,.1f}", s.facts["layout"],
        ]
        for s in stores
    ]  # fmt: skip
    heads = ["dataset", "images", "classes", "pixels", "codec", "MB", "layout"]
    click.echo(text_table(heads, rows, left=2) if rows else _nothing(workspace))
    for folder in unfinished(workspace.data_root):
        click.echo(
            f"unfinished {folder.name} ({_bytes(folder) / 1e6:,.1f} MB): preparing the same again goes on with it; harness data rm {folder.name} removes it"
        )
    if as_json:
        options.print_json([{"name": s.folder.name, "bytes": s.bytes, **_brief(s)} for s in stores])


@command.command()
@click.argument("name", shell_complete=options.complete_prepared)
@options.workspace("data_root")
@options.as_json
def info(name: str, workspace: Workspace, as_json: bool) -> None:
    """Digests of its parts and of the nested subsets of train, and every image that could not be decoded or is unusual."""
    from harness.data.splitting import PERCENTS
    from harness.spec import format_spec

    store = _store(name, workspace)
    for label, key in (("source", "source"), ("layout", "layout"), ("made by", "preparation")):
        click.echo(f"{label:<10} {store.facts[key]}")
    for part, facts in store.facts["parts"].items():
        click.echo(f"{part:<10} {facts['n']:>9,} images, digest {facts['digest']}")
    subsets = {}
    for percent in PERCENTS:
        spec = format_spec("prepared", {"name": name, "train_percent": percent})
        splits = workspace.dataset(spec, tune=0)
        subsets[percent] = {"n": len(splits.train), "digest": splits.train.digest}
        click.echo(
            f"{percent:>3} % train {len(splits.train):>9,} images, digest {splits.train.digest}"
        )
    for what, images in (("undecodable", store.undecodable), ("noted", store.noted)):
        click.echo(f"{what:<11} {len(images)}")
        for part, image, why in images:
            click.echo(f"  {part}: {image}: {why}")
    if as_json:
        options.print_json(
            {
                "name": name,
                **_brief(store),
                "subsets": subsets,
                "undecodable": store.undecodable,
                "noted": store.noted,
            }
        )


@command.command()
@click.argument("names", nargs=-1, shell_complete=options.complete_prepared)
@options.workspace("data_root")
def verify(names: tuple[str, ...], workspace: Workspace) -> None:
    """Read every file of the named datasets (default: all) and compare checksums and digests."""
    damaged = False
    names = names or tuple(_names(workspace))
    if not names:
        click.echo(_nothing(workspace))
    for name in names:
        wrong = _store(name, workspace).damaged()
        damaged |= bool(wrong)
        click.echo(f"{name}: {'; '.join(wrong) or 'as it was written'}")
    if damaged:
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
    """A page about DATASET (a prepared name, or any --dataset): class balance, sizes, exact and near duplicates side by side."""
    from harness.data.audit import audit
    from harness.errors import UserError
    from harness.files import write_atomic
    from harness.report.audit_page import audit_page

    if not out.absolute().parent.is_dir() or out.is_dir():
        raise UserError(f"--out {out} must be a file in a folder that is there")
    splits = workspace.dataset(dataset, tune=0)
    found = audit(splits.title, splits.train, splits.test)
    lists = []
    if dataset in _names(workspace):
        store = _store(dataset, workspace)
        lists = [("Undecodable", store.undecodable), ("Unusual, but decoded", store.noted)]
    page = audit_page(found, dataset_notes=splits.dataset_notes, lists=lists)
    write_atomic(out, lambda file: file.write(page.encode()))
    for kind, counts in found.counts().items():
        click.echo(
            f"{kind:<6} " + ", ".join(f"{where}: {count:,}" for where, count in counts.items())
        )
    click.echo(f"page   {out.resolve()}")
    if as_json:
        options.print_json(
            {"dataset": dataset, "page": str(out.resolve()), "pairs": found.counts()}
        )


@command.command()
@click.argument("names", nargs=-1, required=True, shell_complete=options.complete_prepared)
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.workspace("data_root")
def rm(names: tuple[str, ...], yes: bool, workspace: Workspace) -> None:
    """Remove prepared datasets, and what `list` calls unfinished; the sources stay."""
    import shutil

    from harness.data.store import unfinished

    begun = [folder for folder in unfinished(workspace.data_root) if folder.name in names]
    stores = [
        _store(name, workspace) for name in names if name not in {folder.name for folder in begun}
    ]
    if not yes:
        size = sum(store.bytes for store in stores) + sum(map(_bytes, begun))
        click.confirm(f"Remove {', '.join(names)} ({size / 1e6:,.1f} MB)?", abort=True)
    for folder in begun:
        _remove_unfinished(folder)
    for store in stores:
        (store.folder / "store.json").unlink()  # first: half removed, it is no dataset any more
        shutil.rmtree(store.folder)
        click.echo(f"removed {store.folder}")


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*"))


def _remove_unfinished(folder: Path) -> None:
    """Raises UserError while somebody goes on with it."""
    import shutil

    from filelock import Timeout

    from harness.data.prepare import locked
    from harness.data.store import BUILDING
    from harness.errors import UserError

    try:
        with locked(folder.with_name(folder.name.removeprefix(BUILDING)), timeout=0):
            shutil.rmtree(folder)
    except Timeout as error:
        raise UserError(f"{folder} is being prepared by another process; stop it first") from error
    click.echo(f"removed {folder}")


def _names(workspace: Workspace) -> list[str]:
    from harness.data.store import store_names

    return store_names(workspace.data_root)


def _nothing(workspace: Workspace) -> str:

    return f"nothing is prepared in {workspace.data_root}; harness prepare SOURCE does it"


def _store(name: str, workspace: Workspace) -> Store:
    from harness.data.store import open_store

    return open_store(workspace.data_root, name)


def _brief(store: Store) -> dict[str, object]:
    facts = {key: store.facts[key] for key in ("layout", "source", "size", "codec", "preparation")}
    return {
        **facts,
        "splits": {
            part: {"n": f["n"], "digest": f["digest"]} for part, f in store.facts["parts"].items()
        },
    }
