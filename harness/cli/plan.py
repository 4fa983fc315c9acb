"""`harness plan`: what a run will take."""

from __future__ import annotations

import os
from pathlib import Path

import click

from harness.cli import options


@click.command()
@click.option(
    "--pipeline",
    required=True,
    metavar="SPEC",
    shell_complete=options.complete_pipeline,
    help="As for harness run.",
)
@options.dataset
@click.option(
    "--images",
    type=click.IntRange(2),
    metavar="N",
    help="In place of a dataset: so many labeled images.",
)
@click.option(
    "--test-images",
    type=click.IntRange(1),
    default=50_000,
    show_default=True,
    metavar="N",
    help="With --images.",
)
@click.option(
    "--classes",
    type=click.IntRange(2),
    default=1000,
    show_default=True,
    metavar="N",
    help="With --images.",
)
@click.option("--image-size", type=click.IntRange(8), default=256, show_default=True, metavar="N", help="With --images: pixels a side.")  # fmt: skip
@click.option(
    "--on",
    "hardware",
    metavar="NAME",
    help="By a published throughput of benchmarks/throughputs.toml, not timed here.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1.")
@options.plugins
@options.config
@options.data_root
@options.as_json
def command(
    pipeline: str,
    dataset: str | None,
    images: int | None,
    test_images: int,
    classes: int,
    image_size: int,
    hardware: str | None,
    device: str,
    plugins: tuple[str, ...],
    config: Path | None,
    data_root: Path | None,
    as_json: bool,
) -> None:
    """Hours, disk and memory of a run: here, from timing it for half a minute, or the hours on hardware with a published throughput."""
    import dataclasses

    from harness.engine.device import choose_device
    from harness.engine.distributed import processes
    from harness.engine.estimate import imagined, plan_here, plan_lines, plan_on
    from harness.engine.request import resolve
    from harness.errors import UserError

    if images is not None and dataset is not None:
        raise UserError(
            "--images plans for a dataset that is not here, and --dataset for one that is: give one of the two"
        )
    if images is not None and images < 2 * classes:
        raise UserError(
            f"--images {images} are too few for --classes {classes}: two a class at least, one of which is held out; give --classes"
        )
    source = dataset if images is None else imagined(images, test_images, classes, image_size)
    with processes(choose_device(device)) as group:
        request = resolve(pipeline, source, config=config, data_root=data_root, plugins=plugins)
        train, tune, test = request.splits.train, request.splits.tune, request.splits.test
        if hardware is None:
            plan = plan_here(request, group)
        else:
            plan = plan_on(hardware, request.build(), request.name, images=len(train), classes=train.num_classes, image_size=train.image_size)  # fmt: skip
    if os.environ.get("RANK", "0") != "0":
        return
    click.echo(f"dataset   {request.splits.title}")
    click.echo(f"pipeline   {request.pipeline}")
    click.echo(
        f"images     train {len(train):,}, tune {len(tune or ()):,}, test {len(test):,}; {train.num_classes} classes"
    )
    for line in plan_lines(plan):
        click.echo(line)
    if images is not None and hardware is None:
        click.echo(
            "remark     random pixels in memory: reading and decoding files comes on top where it is slower than training"
        )
    if as_json:
        options.print_json(dataclasses.asdict(plan))
