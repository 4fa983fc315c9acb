"""From how many training images on does the learned pipeline win? `python -m benchmarks.learning_curve baseline alexnet --updates 5000`

Question  how do the errors of both families fall with the number of training images, and where do they cross?
Arms      the pipelines named; the first is the one before.
Points    `--fractions` percent of each class of train, nested for one subset seed, `--seeds` of those; a run's own seed is its subset seed.
          Of 100 % the seeds have the same images. All that is learned comes from the subset: codebooks, projections, the mean image, C, and
          the tune split, on which settings are chosen. The test split is the same whole one everywhere.
          A pipeline with a parameter `updates` gets the same number of steps at every point, of its recipe's batch for so many images,
          and keeps the weights that err least on tune. `--minutes` is turned into that number by timing, once, at the largest point.
Metric    top-1 error on the test split, in percent, against labeled images (train and tune).
Rule      error = a + b n^-c is fitted to each pipeline's points (a = 0 below four sizes) where all have finished. The crossing is the size
          from which on the second law lies below the first, looked for from the smallest point to 4 times the largest; its 95 % interval
          is of 2,000 resamples of subset seeds and test images, the same for all pipelines. No law is asked beyond that range.

Points are ordinary runs, made in an order in which a study that is cut short has something to say: all sizes of seed 0, then of seed 1.
Finished ones of the same identity are read, unfinished ones gone on with; `--finished` makes none and shows what is there, of whatever
state of the pipelines' source, and says so. While a study runs the source had better stay as it is: run it from a checkout of its own.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from benchmarks.power_laws import REACH, Crossing, Curves, PowerLaw, fit_curves, sizes
from benchmarks.runs import finished, finished_or_run
from harness.comparison.published import published
from harness.data.load import dataset_spec
from harness.engine.request import Request, resolve
from harness.errors import UserError
from harness.metrics.errors import top_k_wrong
from harness.registry import Registry
from harness.render.text import duration, text_table
from harness.runs.record import Record
from harness.spec import format_spec, parse_spec

TRIAL_UPDATES = 10_000  # whose time is asked for to know what one update takes


@dataclass(frozen=True)
class Point:
    """A run to be had: `fraction` in percent of train, drawn by `seed`."""

    pipeline: str
    fraction: float
    seed: int


@dataclass(frozen=True)
class Study:
    """What was asked for. `seeds`: how many subset seeds each fraction gets; `dataset` is a resolved spec."""

    pipelines: tuple[str, ...]
    fractions: tuple[float, ...]
    seeds: tuple[int, ...]
    dataset: str
    data_root: Path | None = None

    def points(self) -> Iterator[Point]:
        """In the order in which they are run."""
        for seed in range(max(self.seeds)):
            for fraction, seeds in zip(self.fractions, self.seeds, strict=True):
                if seed < seeds:
                    yield from (Point(pipeline, fraction, seed) for pipeline in self.pipelines)

    def request(self, point: Point) -> Request:
        """All of train is the dataset itself, so that a run of it that is on record counts."""
        part = {"of": self.dataset, "percent": point.fraction, "seed": point.seed}
        dataset = self.dataset if point.fraction == 100 else format_spec("subset", part)
        return resolve(point.pipeline, dataset, seed=point.seed, data_root=self.data_root)


def with_updates(spec: str, updates: int) -> str:
    """The spec with that number where the pipeline has such a parameter and the spec leaves it open. Raises UserError for a wrong number."""
    if not counts_updates(spec):
        return spec
    name, given = parse_spec(spec)
    longer = format_spec(name, {**given, "updates": updates})
    Registry().resolve("pipeline", longer)
    return longer


def counts_updates(spec: str) -> bool:
    *_, values, _ = Registry().resolve("pipeline", spec)
    return "updates" in values and values["updates"] is None


def updates_within(minutes: float, study: Study) -> int:
    """How many updates, at the largest point, take so many minutes here: the fewest of the pipelines that count them."""
    from harness.engine.device import choose_device
    from harness.engine.distributed import processes
    from harness.engine.estimate import probed

    found = []
    for spec in filter(counts_updates, study.pipelines):
        request = study.request(Point(with_updates(spec, TRIAL_UPDATES), max(study.fractions), 0))
        pipeline: Any = request.build()
        with processes(choose_device("auto")) as group:
            probe = probed(request, pipeline, group)
        trial = (
            pipeline.epochs(len(request.splits.train), request.splits.train.image_size)
            * probe.seconds_per_epoch
        )
        found.append(int(TRIAL_UPDATES * (60 * minutes - probe.preparation_seconds) / trial))
    return max(1, min(found))


@dataclass(frozen=True)
class Family:
    """The finished runs of one pipeline: the number of labeled images of each fraction, and its records by seed."""

    pipeline: str
    images: dict[float, int]
    records: dict[float, dict[int, Record]]


def families(study: Study, record_of: Callable[[Request], Record | None]) -> list[Family]:
    """Every point that `record_of` gives a record for; a point that cannot be run is told and left out. Ctrl-C ends it early."""
    found = [Family(pipeline, {}, {}) for pipeline in study.pipelines]
    try:
        for point in study.points():
            try:
                record = record_of(study.request(point))
            except UserError as error:
                print(
                    f"not run    {point.pipeline}, {point.fraction:g} %, seed {point.seed}: {error}",
                    flush=True,
                )
                continue
            if record:
                family = found[study.pipelines.index(point.pipeline)]
                family.images[point.fraction] = record.result.n_train + record.result.n_tune
                family.records.setdefault(point.fraction, {})[point.seed] = record
    except KeyboardInterrupt:
        print("stopped    what is finished is shown; the same command goes on", flush=True)
    return found


def table(found: Sequence[Family]) -> str:
    """A line a size: of each pipeline the mean error, its standard deviation over subset seeds, and the mean time of a fit."""
    images = {fraction: n for family in found for fraction, n in family.images.items()}
    head = [
        "images",
        "of train",
        *(f"{name} {what}" for name in names(found) for what in ("error", "sd", "seeds", "fit")),
    ]
    rows = [
        [
            f"{n:,}",
            f"{fraction:g} %",
            *(cell for family in found for cell in cells(family, fraction)),
        ]
        for fraction, n in sorted(images.items())
    ]
    return text_table(head, rows)


def cells(family: Family, fraction: float) -> list[str]:
    results = [record.result for record in family.records.get(fraction, {}).values()]
    errors = [result.top1_error or 0.0 for result in results]
    if not results:
        return ["-", "-", "0", "-"]
    sd = f"{stdev(errors):.2f}" if len(errors) > 1 else "-"
    return [
        f"{mean(errors):.2f} %",
        sd,
        str(len(errors)),
        duration(mean(result.cost.fit_seconds for result in results)),
    ]


def names(found: Sequence[Family]) -> list[str]:
    """The pipelines' bare names, or the specs of those that share one."""
    bare = [family.pipeline.partition(",")[0] for family in found]
    return [
        name if bare.count(name) == 1 else family.pipeline
        for name, family in zip(bare, found, strict=True)
    ]


def states(family: Family) -> str:
    """What is to be said where its points were made by different sources."""
    hashes = {
        record.result.source_hash
        for records in family.records.values()
        for record in records.values()
    }
    return (
        f" (its points are of {len(hashes)} states of its source: {', '.join(sorted(hashes))})"
        if len(hashes) > 1
        else ""
    )


def curves_of(found: Sequence[Family]) -> Curves | None:
    """Laws over the points and seeds that every pipeline has finished; None where those are of fewer than two sizes."""
    n, points = [], []
    for fraction, images in found[0].images.items():
        seeds = set.intersection(*(set(family.records.get(fraction, {})) for family in found))
        if seeds:
            n.append(images)
            points.append(
                np.stack(
                    [
                        [wrong(family.records[fraction][seed]) for seed in sorted(seeds)]
                        for family in found
                    ]
                )
            )
    return fit_curves(n, points) if len(n) > 1 else None


def wrong(record: Record) -> np.ndarray:
    """(n,) bool in order of key, so that columns of different runs are about the same image."""
    scores = record.scores()
    return top_k_wrong(scores, 1)[np.argsort(scores.keys)]


def findings(found: Sequence[Family], curves: Curves) -> list[str]:
    """Laws, crossings, what the points alone say, and how far the laws reach."""
    called = names(found)
    lines = [
        f"law        {name}: error = {law.a:.2f} + {law.b:.4g} n^-{law.c:.3f}, off by {off:.2f} points (root mean square of {len(curves.n)} sizes)"
        for name, law, off in zip(called, curves.laws, curves.residuals, strict=True)
    ]
    if len(curves.n) == 2:
        lines.append(
            "note       a law goes through any two sizes: nothing is left to check these by"
        )
    for number, name in enumerate(called[1:], 1):
        better = [
            f"{n:,.0f}"
            for n, gap in zip(curves.n, curves.errors[number] - curves.errors[0], strict=True)
            if gap < 0
        ]
        lines.append(
            f"crossing   {crossing_text(name, called[0], curves.crossing(0, number), curves)}"
        )
        lines.append(
            f"measured   {name} errs less than {called[0]} at {', '.join(better) or 'none'} of the measured sizes"
        )
    ends = ", ".join(
        f"{name} {law(np.array([curves.largest_asked]))[0]:.1f} %"
        for name, law in zip(called, curves.laws, strict=True)
    )
    return [
        *lines,
        f"reach      at {curves.largest_asked:,.0f} images, {REACH:g} times the largest point and the farthest: {ends}",
    ]


def crossing_text(after: str, before: str, found: Crossing, curves: Curves) -> str:
    ends = f"{curves.n.min():,.0f} to {curves.largest_asked:,.0f} images"
    if math.isinf(found.n):
        text = f"none in range: {after} does not come below {before} for good from {ends}"
    elif found.n == 0:
        text = f"below the range: {after} errs less than {before} all the way from {ends}"
    else:
        text = f"{after} errs less than {before} from {rounded(found.n)} images on"
    interval = f"95 % interval [{rounded(found.low)}, {rounded(found.high)}]"
    return f"{text}; {interval}" + (
        f", {found.missing:.0%} of the resamples without a crossing in range"
        if found.missing
        else ""
    )


def rounded(n: float) -> str:
    """Two digits, as more are never sure."""
    if n == 0 or math.isinf(n):
        return "none in range" if n else "below the range"
    return f"{float(f'{n:.2g}'):,.0f}"


def far_beyond() -> str:
    """In place of a law at 12 million images: what was published for so many."""
    less, more = published().figure("cnn-2012"), published().figure("cnn-star-2012")
    return (
        f"published  what of 12 million images? No law is asked that far. {less.source}: {less.method} {less.top5} % top-5 error on "
        f"{less.dataset} ({less.split}); {more.method}, {more.extra_data}, {more.top5} %"
    )


def draw(found: Sequence[Family], curves: Curves, path: Path, title: str) -> None:
    """Points of every seed, laws (dashed where extrapolated) with the 95 % band of the resamples, and the crossings, on logarithmic axes."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(
        xscale="log",
        yscale="log",
        xlabel="labeled training images",
        ylabel="top-1 error, %",
        title=title,
    )
    for number, (family, name) in enumerate(zip(found, names(found), strict=True)):
        draw_law(axes, curves.laws[number], curves.resampled[number], curves, f"C{number}", name)
        for fraction, n in family.images.items():
            errors = [
                record.result.top1_error or 0.0 for record in family.records[fraction].values()
            ]
            axes.plot([n] * len(errors), errors, "o", color=f"C{number}", markersize=4, alpha=0.7)
    for number in range(1, len(found)):
        crossing = curves.crossing(0, number)
        if 0 < crossing.n < math.inf:
            axes.axvline(
                crossing.n, color="0.3", linewidth=1, label=f"crossing at {rounded(crossing.n)}"
            )
            axes.axvspan(
                max(crossing.low, float(curves.n.min())),
                min(crossing.high, curves.largest_asked),
                color="0.5",
                alpha=0.15,
            )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(
        FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "235" else "")
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, dpi=110)


def draw_law(
    axes: Any, law: PowerLaw, resampled: PowerLaw, curves: Curves, color: str, label: str
) -> None:
    n = sizes(float(curves.n.min()), float(curves.n.max()), count=120)
    measured = n <= curves.n.max()
    axes.plot(n[measured], law(n[measured]), color=color, label=label)
    axes.plot(n[~measured], law(n[~measured]), color=color, linestyle="--")
    low, high = np.quantile(resampled(n), [0.025, 0.975], axis=0)
    axes.fill_between(n, low, high, color=color, alpha=0.2, linewidth=0)


def study_of(given: argparse.Namespace) -> Study:
    """Raises UserError for fractions, seeds or specs that make no study."""
    fractions = numbers(given.fractions, "--fractions", float)
    seeds = numbers(given.seeds, "--seeds", int)
    if any(not 0 < fraction <= 100 for fraction in fractions) or len(set(fractions)) < len(
        fractions
    ):
        raise UserError(
            f"--fractions {given.fractions}: give different percentages above 0 and at most 100, such as 2,10,30,100"
        )
    if len(seeds) not in (1, len(fractions)) or min(seeds) < 1:
        raise UserError(
            f"--seeds {given.seeds}: give one number from 1 up, or one for each of the {len(fractions)} fractions"
        )
    if len(set(given.pipelines)) < 2 or len(set(given.pipelines)) < len(given.pipelines):
        raise UserError(
            f"two or more different pipelines are compared, given: {', '.join(given.pipelines)}"
        )
    registry = Registry()
    *_, dataset = registry.resolve(
        "dataset", dataset_spec(given.dataset, registry, given.data_root)
    )
    each = sorted(zip(fractions, seeds * len(fractions) if len(seeds) == 1 else seeds, strict=True))
    return Study(
        tuple(given.pipelines),
        tuple(fraction for fraction, _ in each),
        tuple(count for _, count in each),
        dataset,
        given.data_root,
    )


def numbers(text: str, flag: str, kind: Callable[[str], Any]) -> list[Any]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(f"{flag} {text}: not a list of numbers, such as 2,10,30,100") from error


def with_length(study: Study, given: argparse.Namespace) -> Study:
    """The study whose networks know how long to train. Raises UserError where that is not said."""
    if not any(map(counts_updates, study.pipelines)):
        return study
    if given.updates is None and given.minutes is None:
        names = ", ".join(filter(counts_updates, study.pipelines))
        raise UserError(
            f"say how long to train {names} at every point: --updates N, or --minutes M, which is turned into a number"
        )
    updates = given.updates
    if updates is None:
        updates = updates_within(given.minutes, study)
        print(
            f"updates    {given.minutes:g} min are {updates:,} here at the largest point; to go on later give --updates {updates}"
        )
    return replace(study, pipelines=tuple(with_updates(spec, updates) for spec in study.pipelines))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "pipelines",
        nargs="*",
        default=["baseline", "alexnet"],
        metavar="PIPELINE",
        help="specs, the one before first",
    )
    parser.add_argument(
        "--fractions", default="2,10,30,100", help="percent of train (default: %(default)s)"
    )
    parser.add_argument(
        "--seeds",
        default="3",
        help="subset seeds of every fraction, or one number a fraction: 3,3,3,1",
    )
    parser.add_argument("--dataset", help="spec or path; default: HARNESS_DATASET, else digits")
    parser.add_argument("--data-root", type=Path)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--updates", type=int, help="of a network, at every point")
    length.add_argument(
        "--minutes", type=float, help="that a network's fit takes at the largest point: timed once"
    )
    parser.add_argument(
        "--finished", action="store_true", help="run nothing, show what is finished"
    )
    parser.add_argument("-o", "--output", type=Path, help="a picture of the curves")
    given = parser.parse_args()
    try:
        study = with_length(study_of(given), given)
    except UserError as error:
        parser.error(str(error))
    found = families(
        study, partial(finished, any_source=True) if given.finished else finished_or_run
    )
    print(f"\n{table(found)}\n")
    print("\n".join(f"spec       {family.pipeline}{states(family)}" for family in found))
    print(f"dataset   {study.dataset}")
    curves = curves_of(found)
    if curves is None:
        print("law        none: fewer than two sizes are finished by all")
    else:
        print("\n".join(findings(found, curves)))
        if given.output:
            result = next(iter(found[0].records[min(found[0].images)].values())).result
            draw(
                found,
                curves,
                given.output,
                f"{result.title.split(',')[0]}, {result.n_test:,} test images",
            )
            print(f"picture    {given.output}")
    print(far_beyond())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
