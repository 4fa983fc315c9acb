"""From how many training images on does the learned pipeline have the lower error?

Question  How do the errors of both families fall with the number of training images, and where do
          they cross?
Arms      The pipelines named; the others are compared with the first.
Points    `--fractions` percent of each class of train, nested for one subset seed, with `--seeds`
          subset seeds. A run's own seed is its subset seed; at 100 % all seeds have the same
          images. Everything learned comes from the subset: codebooks, projections, the mean image,
          C, and the tune split that settings are chosen on. The test split is always the whole one.
          A pipeline with a parameter `updates` trains for the same number of steps at every point,
          with its recipe's batch for that many images, and keeps the weights with the lowest tune
          error. `--minutes` is converted to that number by timing once, at the largest point.
Metric    Top-1 error on the test split, in percent, against labeled images (train and tune).
Rule      error = a + b n^-c is fitted to each pipeline's points (a = 0 below four sizes) where all
          pipelines have finished. The crossing is the size from which on the second law lies below
          the first, between the smallest point and 4 times the largest. Its 95 % interval is from
          2,000 resamples of subset seeds and test images, the same for all pipelines. No law is
          evaluated beyond that range.

    python -m benchmarks.learning_curve baseline alexnet --updates 5000

Points are ordinary runs, in an order that makes an interrupted study useful: all sizes of seed 0
first, then of seed 1. Finished runs of the same identity are read and unfinished ones resumed.
`--finished` runs nothing and shows what is there, from any state of the pipelines' source, which is
noted. Leave the source unchanged while a study runs: use a separate checkout.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.command_line import argument_parser
from benchmarks.learning_curve_plot import draw
from benchmarks.learning_curve_report import (
    error_table,
    findings,
    fit_runs,
    published_beyond_range,
    source_note,
)
from benchmarks.learning_curve_study import PipelineRuns, Study, collect_runs, updates_within
from benchmarks.power_laws import FittedCurves
from benchmarks.study_runs import finished_or_run, finished_run
from harness.errors import UserError
from harness.workspace import Workspace


def study_from(arguments: argparse.Namespace) -> Study:
    """Return the study that was asked for.

    Raises
    ------
    UserError
        If fractions, seeds or specs are wrong.
    """
    fractions = parse_numbers(arguments.fractions, "--fractions", float)
    seeds = parse_numbers(arguments.seeds, "--seeds", int)
    outside = any(not 0 < fraction <= 100 for fraction in fractions)
    if outside or len(set(fractions)) < len(fractions):
        raise UserError(
            f"--fractions {arguments.fractions}: give different percentages above 0 and at most "
            "100, such as 2,10,30,100"
        )
    if len(seeds) not in (1, len(fractions)) or min(seeds) < 1:
        raise UserError(
            f"--seeds {arguments.seeds}: give one number of at least 1, or one for each of the "
            f"{len(fractions)} fractions"
        )
    pipelines = tuple(arguments.pipelines)
    if len(set(pipelines)) < 2 or len(set(pipelines)) < len(pipelines):
        raise UserError(
            f"give at least two pipelines, all different; given: {', '.join(pipelines)}"
        )
    workspace = Workspace.open(data_root=arguments.data_root)
    dataset = workspace.resolve("dataset", workspace.dataset_spec(arguments.dataset)).spec
    if len(seeds) == 1:
        seeds *= len(fractions)
    fractions, seeds = zip(*sorted(zip(fractions, seeds, strict=True)), strict=True)
    return Study(pipelines, fractions, seeds, dataset, workspace)


def parse_numbers(text: str, flag: str, kind: Callable[[str], Any]) -> Any:
    try:
        return tuple(kind(word) for word in text.split(","))
    except ValueError as error:
        raise UserError(f"{flag} {text}: not a list of numbers, such as 2,10,30,100") from error


def with_length(study: Study, arguments: argparse.Namespace) -> Study:
    """Return the study in which every network has its number of updates.

    Raises
    ------
    UserError
        If a network needs a number and none is given.
    """
    if not (needing := study.needs_updates()):
        return study
    updates = arguments.updates
    if updates is None and arguments.minutes is None:
        raise UserError(
            f"give the length of training of {', '.join(needing)} at every point: --updates N, or "
            "--minutes M, which is converted to a number of updates"
        )
    if updates is None:
        updates = updates_within(arguments.minutes, study)
        print(
            f"updates    {arguments.minutes:g} min are {updates:,} updates here at the largest "
            f"point; to continue later give --updates {updates}"
        )
    return study.with_updates(updates)


def make_parser() -> argparse.ArgumentParser:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "pipelines",
        nargs="*",
        default=["baseline", "alexnet"],
        metavar="PIPELINE",
        help="specs; the others are compared with the first (default: baseline alexnet)",
    )
    parser.add_argument(
        "--fractions", default="2,10,30,100", help="percent of train (default: %(default)s)"
    )
    parser.add_argument(
        "--seeds",
        default="3",
        help="subset seeds of every fraction, or one number per fraction, such as 3,3,3,1",
    )
    parser.add_argument("--dataset", help="spec or path; default: HARNESS_DATASET, else digits")
    parser.add_argument("--data-root", type=Path)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--updates", type=int, help="training steps of a network at every point")
    length.add_argument(
        "--minutes", type=float, help="time of a network's fit at the largest point, measured once"
    )
    parser.add_argument(
        "--finished", action="store_true", help="run nothing, show what is finished"
    )
    parser.add_argument("-o", "--output", type=Path, help="file for a picture of the curves")
    return parser


def show(runs: list[PipelineRuns], dataset: str, output: Path | None) -> None:
    """Print the table and the findings, and draw the picture."""
    print(f"\n{error_table(runs)}\n")
    for pipeline in runs:
        print(f"spec       {pipeline.pipeline}{source_note(pipeline)}")
    print(f"dataset    {dataset}")
    curves = fit_runs(runs)
    if curves is None:
        print("law        none: fewer than two sizes are finished by all pipelines")
    else:
        print("\n".join(findings(runs, curves)))
        if output:
            draw_with_title(runs, curves, output)
            print(f"picture    {output}")
    print(published_beyond_range())


def draw_with_title(runs: list[PipelineRuns], curves: FittedCurves, output: Path) -> None:
    smallest = runs[0].records[min(runs[0].images)]
    result = next(iter(smallest.values())).result
    draw(runs, curves, output, f"{result.title.split(',')[0]}, {result.n_test:,} test images")


def main() -> int:
    parser = make_parser()
    arguments = parser.parse_args()
    try:
        study = with_length(study_from(arguments), arguments)
    except UserError as error:
        parser.error(str(error))
    only_finished = partial(finished_run, any_source=True)
    runs = collect_runs(study, only_finished if arguments.finished else finished_or_run)
    show(runs, study.dataset, arguments.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
