"""The points of a learning curve: which runs they are, and how long their networks train."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from benchmarks.study_runs import probe_run, study_request
from harness.contract import Plannable
from harness.engine.request import Request
from harness.errors import UserError
from harness.runs.record import Record
from harness.spec import format_spec, parse_spec
from harness.workspace import Workspace

TRIAL_UPDATES = 10_000  # length of the training whose time is estimated to find that of an update


@dataclass(frozen=True)
class Point:
    """One run.

    Parameters
    ----------
    fraction : float
        Percent of each class of the training images.
    seed : int
        Draws the subset, and seeds the run.
    """

    pipeline: str
    fraction: float
    seed: int


@dataclass(frozen=True)
class Study:
    """What to run.

    Parameters
    ----------
    pipelines : tuple of str
        Specs; the first is the one that the others are compared with.
    fractions : tuple of float
        Percent of the training images, ascending.
    seeds : tuple of int
        Number of subset seeds of each fraction.
    dataset : str
        A resolved spec.
    """

    pipelines: tuple[str, ...]
    fractions: tuple[float, ...]
    seeds: tuple[int, ...]
    dataset: str
    workspace: Workspace

    def points(self) -> Iterator[Point]:
        """Yield the points in the order in which they run."""
        for seed in range(max(self.seeds)):
            for fraction, seeds in zip(self.fractions, self.seeds, strict=True):
                if seed < seeds:
                    yield from (Point(pipeline, fraction, seed) for pipeline in self.pipelines)

    def request(self, point: Point) -> Request:
        """Return the run of a point.

        100 % is the dataset itself, not a subset of it, so that an ordinary run of it counts.
        """
        dataset = self.dataset
        if point.fraction != 100:
            subset = {"of": self.dataset, "percent": point.fraction, "seed": point.seed}
            dataset = format_spec("subset", subset)
        return study_request(self.workspace, point.pipeline, dataset, seed=point.seed)

    def needs_updates(self) -> list[str]:
        """Return the pipelines whose training length is a number of updates not yet given."""
        return [spec for spec in self.pipelines if needs_updates(self.workspace, spec)]

    def with_updates(self, updates: int) -> Study:
        """Return the study in which those pipelines train for this many updates.

        Raises
        ------
        UserError
            If the number is not allowed.
        """
        specs = [with_updates(self.workspace, spec, updates) for spec in self.pipelines]
        return replace(self, pipelines=tuple(specs))


def needs_updates(workspace: Workspace, spec: str) -> bool:
    """Return whether a pipeline has a parameter `updates` that its spec leaves open."""
    values = workspace.resolve("pipeline", spec).values
    return "updates" in values and values["updates"] is None


def with_updates(workspace: Workspace, spec: str, updates: int) -> str:
    """Return the spec with this number of updates, or unchanged if it does not need one.

    Raises
    ------
    UserError
        If the number is not allowed.
    """
    if not needs_updates(workspace, spec):
        return spec
    name, parameters = parse_spec(spec)
    complete = format_spec(name, {**parameters, "updates": updates})
    workspace.resolve("pipeline", complete)
    return complete


def updates_within(minutes: float, study: Study) -> int:
    """Return how many updates take that long here at the largest point.

    It is the smallest number among the pipelines that need one, so that none takes longer.
    """
    updates = []
    for spec in study.needs_updates():
        trial = with_updates(study.workspace, spec, TRIAL_UPDATES)
        request = study.request(Point(trial, max(study.fractions), 0))
        train, pipeline = request.splits.train, request.build()
        assert isinstance(pipeline, Plannable)
        probe = probe_run(request)
        epochs = pipeline.epochs(len(train), train.image_size)
        training_seconds = 60 * minutes - probe.preparation_seconds
        updates.append(int(TRIAL_UPDATES * training_seconds / (epochs * probe.seconds_per_epoch)))
    return max(1, min(updates))


@dataclass(frozen=True)
class PipelineRuns:
    """The finished runs of one pipeline.

    Parameters
    ----------
    images : dict of float to int
        Labeled images of each fraction.
    records : dict of float to dict of int to Record
        By fraction, then by seed.
    """

    pipeline: str
    images: dict[float, int]
    records: dict[float, dict[int, Record]]


def collect_runs(study: Study, record_of: Callable[[Request], Record | None]) -> list[PipelineRuns]:
    """Return the runs of each pipeline, as far as `record_of` gives a record.

    A point that cannot run is reported and left out. Ctrl-C ends the collection early.
    """
    runs = [PipelineRuns(pipeline, {}, {}) for pipeline in study.pipelines]
    try:
        for point in study.points():
            try:
                record = record_of(study.request(point))
            except UserError as error:
                name = f"{point.pipeline}, {point.fraction:g} %, seed {point.seed}"
                print(f"not run    {name}: {error}", flush=True)
                continue
            if record:
                pipeline_runs = runs[study.pipelines.index(point.pipeline)]
                images = record.result.n_train + record.result.n_tune
                pipeline_runs.images[point.fraction] = images
                pipeline_runs.records.setdefault(point.fraction, {})[point.seed] = record
    except KeyboardInterrupt:
        print("stopped    finished runs are shown; the same command continues", flush=True)
    return runs
