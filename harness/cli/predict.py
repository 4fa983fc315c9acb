"""`harness predict`: a finished run on the user's own images."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import click

from harness.cli import options


@click.command()
@click.argument("run", shell_complete=options.complete_run)
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH..."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1.")
@options.plugins
@options.config
@click.option("--json", "as_json", is_flag=True, help="One JSON array in place of CSV.")
def command(
    run: str,
    paths: tuple[Path, ...],
    device: str,
    plugins: tuple[str, ...],
    config: Path | None,
    as_json: bool,
) -> None:
    """The five likeliest classes of each image (files, or folders of them), as CSV: path, rank, class, score."""
    from harness.data.decode import printable
    from harness.engine.predict import predict

    predictions = predict(run, paths, device=device, plugins=plugins, config=config)
    if as_json:
        options.print_json(
            [
                {"path": printable(str(path)), "top5": [{"class": c, "score": s} for c, s in top]}
                for path, top in predictions
            ]
        )
        return
    writer = csv.writer(sys.stdout)
    writer.writerow(["path", "rank", "class", "score"])
    for path, top in predictions:
        writer.writerows(
            [
                [printable(str(path)), rank, class_name, f"{score:.4f}"]
                for rank, (class_name, score) in enumerate(top, 1)
            ]
        )
