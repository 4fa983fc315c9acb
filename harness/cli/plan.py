"""`harness plan`: what a run will take."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from harness.cli import options

if TYPE_CHECKING:
    from harness.data.split import Dataset
    from harness.engine.estimate import Plan
    from harness.engine.request import Request
    from harness.workspace import Workspace


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
    type=options.WholeNumber(2),
    metavar="N",
    help="Plan for N labeled images instead of a dataset.",
)
@click.option(
    "--test-images",
    type=options.WholeNumber(1),
    default=50_000,
    show_default=True,
    metavar="N",
    help="With --images: test images.",
)
@click.option(
    "--classes",
    type=options.WholeNumber(2),
    default=1000,
    show_default=True,
    metavar="N",
    help="With --images: classes.",
)
@click.option(
    "--image-size",
    type=options.WholeNumber(8),
    default=256,
    show_default=True,
    metavar="N",
    help="With --images: height and width in pixels.",
)
@click.option(
    "--on",
    "hardware",
    metavar="NAME",
    help="Use a published throughput of benchmarks/throughputs.toml; nothing is timed here.",
)
@options.device
@options.workspace()
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
    workspace: Workspace,
    as_json: bool,
) -> None:
    """Estimate hours, disk and memory of a run by timing it for half a minute.

    With --on, estimate the hours on hardware with a published throughput instead.
    """
    from harness.engine.device import choose_device
    from harness.engine.distributed import is_first_process, join_processes
    from harness.engine.estimate import plan_here, plan_on, synthetic_dataset
    from harness.engine.observer import RunObserver
    from harness.engine.request import resolve_request
    from harness.errors import UserError
    from harness.report.run_summary import ProgressDisplay

    if images is not None and dataset is not None:
        raise UserError("--images and --dataset exclude each other: give one of the two")
    source: str | Dataset | None = dataset
    if images is not None:
        source = synthetic_dataset(
            images, test_images=test_images, classes=classes, side=image_size
        )
    with join_processes(choose_device(device)) as processes:
        request = resolve_request(workspace, pipeline, source)
        if hardware is not None:
            plan = plan_on(hardware, request)
        else:
            observer = ProgressDisplay() if processes.first else RunObserver()
            plan = plan_here(request, processes, observer)
    if not is_first_process():
        return
    for line in _plan_lines(request, plan):
        click.echo(line)
    if images is not None and hardware is None:
        click.echo("note       random pixels in memory: decoding files may take longer")
    if as_json:
        options.print_json(dataclasses.asdict(plan))


def _plan_lines(request: Request, plan: Plan) -> list[str]:
    from harness.render.text import duration, size

    splits = request.splits
    n_tune = len(splits.tune) if splits.tune else 0
    fit = " to ".join(dict.fromkeys(duration(seconds) for seconds in plan.fit_seconds))
    lines = [
        f"pipeline   {request.label}",
        f"dataset    {splits.title}: {len(splits.train):,} train, {n_tune:,} tune, "
        f"{len(splits.test):,} test images, {splits.train.num_classes} classes",
        f"throughput {plan.throughput}",
        f"fit        about {fit}: {round(plan.epochs, 2):g} epochs of {plan.images:,} images",
    ]
    if plan.score_seconds is not None:
        lines.append(f"score      about {duration(plan.score_seconds)}")
    if plan.running_bytes is not None and plan.kept_bytes is not None:
        lines.append(
            f"disk       {size(plan.running_bytes)} during the run, {size(plan.kept_bytes)} kept: "
            "state and scores, without the dataset"
        )
    if plan.memory_bytes is not None:
        lines.append(f"memory     about {size(plan.memory_bytes)} per process")
    if plan.kept_bytes is None:
        lines.append("unknown    score, disk and memory: plan it here, without --on")
    return lines
