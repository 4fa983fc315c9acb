"""`harness predict`: a finished run on the user's own images."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.engine.predict import Prediction
    from harness.workspace import Workspace


@click.command()
@click.argument("run", shell_complete=options.complete_run)
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH..."
)
@options.device
@options.workspace("plugins", "config")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array instead of CSV.")
def command(
    run: str, paths: tuple[Path, ...], device: str, workspace: Workspace, as_json: bool
) -> None:
    """Print the five most likely classes of each image as CSV: path, rank, class, score.

    A path is an image file, or a folder or archive of them.
    """
    from harness import api
    from harness.cli.streams import reader_is_gone
    from harness.render.table import csv_cell

    predictions = api.predict(run, paths, device=device, note=_print_note, workspace=workspace)
    if as_json:
        _print_json(predictions)
        return
    writer = csv.writer(sys.stdout)
    head = ["path", "rank", "class", "score"]
    for index, (path, top) in enumerate(predictions):
        if reader_is_gone():
            return
        if index == 0:  # after an error with the first image there is no table
            writer.writerow(head)
        for rank, (class_name, score) in enumerate(top, 1):
            cells = [csv_cell(str(path)), rank, csv_cell(class_name), f"{score:.4f}"]
            writer.writerow(cells)


def _print_json(predictions: Iterator[Prediction]) -> None:
    """Print all predictions as one array, also if an error follows the last one."""
    from harness.render.text import printable

    printed = []
    try:
        for path, top in predictions:
            classes = [{"class": name, "score": score} for name, score in top]
            printed.append({"path": printable(str(path)), "top5": classes})
    finally:
        if printed:
            options.print_json(printed)


def _print_note(text: str) -> None:
    click.echo(f"note       {text}", err=True)
