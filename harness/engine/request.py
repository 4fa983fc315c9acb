"""A run with everything looked up and nothing yet done: new, or an unfinished one to resume."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.commands import harness_command
from harness.contract import Pipeline
from harness.data.load import DatasetSource, Splits
from harness.engine.load import require_registered
from harness.engine.outputs import plugin_errors, require_pipeline
from harness.errors import UserError
from harness.render.text import duration
from harness.runs.liveness import STALE_AFTER_SECONDS
from harness.runs.record import Record
from harness.runs.run_store import RunStore
from harness.runs.spec import RunSpec, SeedGroup
from harness.spec import parse_spec
from harness.workspace import Workspace

LATEST = "latest"
# Fields that the search for the latest unfinished run ignores; a change in one is an error.
CHANGEABLE = {
    "source_hash": "the source of the pipeline",
    "train_digest": "the training data",
    "test_digest": "the test data",
}


@dataclass(frozen=True)
class RunOptions:
    """How to run a pipeline on a dataset.

    Parameters
    ----------
    seed : int
        Seeds everything that is random.
    tune : int, optional
        Images per class to hold out for tuning; 0: none; None: the dataset's own number.
    limit, limit_test : int, optional
        At most this many labeled or test images, balanced over the classes.
    test : bool
        False: stop after the tune error.
    seed_group : SeedGroup, optional
        The runs of several seeds that this run is one of.
    """

    seed: int = 0
    tune: int | None = None
    limit: int | None = None
    limit_test: int | None = None
    test: bool = True
    seed_group: SeedGroup | None = None


@dataclass(frozen=True)
class Request:
    """A run with everything looked up.

    Parameters
    ----------
    build : callable
        Makes the pipeline anew.
    name, family, label : str
        The pipeline's bare name, its family, and the name with the parameters that differ from
        their default.
    plugin : Path or None
        The pipeline's file; None where it is built in or was given as an object.
    """

    workspace: Workspace
    spec: RunSpec
    splits: Splits
    build: Callable[[], Pipeline]
    name: str
    family: str
    label: str
    plugin: Path | None = None


@dataclass(frozen=True)
class _PipelineSource:
    """A pipeline of the registry or an object, described alike."""

    build: Callable[[], Pipeline]
    spec: str
    name: str
    family: str
    label: str
    source_hash: str
    from_object: bool
    plugin: Path | None


def resolve_request(
    workspace: Workspace,
    pipeline: str | Pipeline,
    dataset: DatasetSource = None,
    options: RunOptions | None = None,
) -> Request:
    """Look up everything that a run needs, before any work is done.

    Parameters
    ----------
    pipeline : str or Pipeline
        A spec string, or an object with the methods of `contract.Pipeline`.
    dataset : str, Dataset, (train, test) pair of Splits or None
        None: HARNESS_DATASET, else digits.

    Raises
    ------
    UserError
        If anything about the request is wrong.
    """
    options = options or RunOptions()
    runs_folder = workspace.runs_folder  # wrong settings are reported before any work is done
    source = _look_up(workspace, pipeline)
    if dataset is None or isinstance(dataset, str):
        _require_runs_outside(workspace, runs_folder, workspace.dataset_spec(dataset))
    splits = workspace.dataset(
        dataset, tune=options.tune, limit=options.limit, limit_test=options.limit_test
    )
    spec = RunSpec(
        kind="fit",
        pipeline=source.spec,
        dataset=splits.spec,
        title=splits.title,
        class_names=splits.train.class_names,
        source_hash=source.source_hash,
        train_digest=splits.fit_digest,
        test_digest=splits.test.digest,
        preparation=splits.test.preparation,
        image_size=splits.train.image_size,
        plugins=workspace.plugins,
        from_object=source.from_object,
        dataset_from_object=not (dataset is None or isinstance(dataset, str)),
        **vars(options),
    )
    return Request(
        workspace=workspace,
        spec=spec,
        splits=splits,
        build=source.build,
        name=source.name,
        family=source.family,
        label=source.label,
        plugin=source.plugin,
    )


def resume_request(
    workspace: Workspace,
    record: Record,
    pipeline: str | None = None,
    dataset: str | None = None,
    **changes: Any,
) -> Request:
    """Look up an unfinished run again, as it was asked for except for what is given here.

    What differs is refused later, by `find_unfinished`, with the value on record.

    Raises
    ------
    UserError
        If the run is an ensemble, or as `resolve_request` does.
    """
    spec = record.spec
    if spec.kind == "ensemble":
        again = harness_command("ensemble", "RUN", "RUN")
        raise UserError(f"run {record.run_id} is an ensemble, which is made in one go: {again}")
    if pipeline is None and not spec.from_object:
        require_registered(workspace.registry, record, "pipeline")
    if dataset is None and not spec.dataset_from_object:
        require_registered(workspace.registry, record, "dataset")
    options = RunOptions(
        seed=spec.seed,
        tune=spec.tune,
        limit=spec.limit,
        limit_test=spec.limit_test,
        test=spec.test,
        seed_group=spec.seed_group,
    )
    given = {name: value for name, value in changes.items() if value is not None}
    return resolve_request(
        workspace,
        pipeline or spec.pipeline,
        dataset or spec.dataset,
        replace(options, **given),
    )


def rerun_command(spec: RunSpec, flags: str = "") -> str:
    """Return the command line that does a run again."""
    if spec.weights_of:
        views = parse_spec(spec.pipeline)[1]["views"]
        return harness_command("rescore", spec.weights_of, "--views", views)
    words = ["run", "--pipeline", spec.pipeline, "--dataset", spec.dataset]
    words += ["--seed", str(spec.seed)]
    limits = {"--tune": spec.tune, "--limit": spec.limit, "--limit-test": spec.limit_test}
    for flag, value in limits.items():
        words += [flag, str(value)] if value is not None else []
    words += [] if spec.test else ["--no-test"]
    return harness_command(*words, flags=flags)


def find_unfinished(request: Request, run_id: str = LATEST) -> Record:
    """Return the unfinished run to resume.

    Parameters
    ----------
    run_id : str
        `latest` stands for the latest run of the same request.

    Raises
    ------
    UserError
        If there is none, it is still running, or source or data have changed since it began.
    """
    store = RunStore(request.workspace.runs_folder)
    record = store.find(run_id) if run_id != LATEST else _latest_unfinished(request, store)
    if record.finished:
        raise UserError(f"run {record.run_id} is finished; there is nothing to resume")
    if record.state == "running":
        raise UserError(
            f"run {record.run_id} is still running (process {record.status.get('pid', '?')} on "
            f"{record.status.get('host', '?')}); if that machine is gone, try again "
            f"{duration(STALE_AFTER_SECONDS)} after the run's last sign of life"
        )
    recorded = record.spec.identifying
    moved = _has_same_images(record.spec, request.spec)
    for name, value in request.spec.identifying.items():
        if recorded[name] != value and not (moved and name == "dataset"):
            raise UserError(
                f"run {record.run_id} cannot be resumed: {CHANGEABLE.get(name, name)} has changed "
                f"since it began ({recorded[name]} then, {value} now); start a new run without "
                "--resume, or put the old one back"
            )
    return record


def _latest_unfinished(request: Request, store: RunStore) -> Record:
    unfinished = [record for record in store.readable() if not record.finished]
    matches = [record for record in unfinished if _is_same_request(record.spec, request.spec)]
    if not matches:
        raise UserError(
            f"there is no unfinished run of {request.spec.pipeline} on {request.spec.dataset} with "
            f"seed {request.spec.seed} to resume; see: {harness_command('runs')}"
        )
    return matches[-1]


def _is_same_request(recorded: RunSpec, wanted: RunSpec) -> bool:
    """Whether two runs were asked for alike; the folder of the images may have moved."""
    if _has_same_images(recorded, wanted):
        recorded = replace(recorded, dataset=wanted.dataset)
    return all(
        getattr(recorded, name) == value
        for name, value in wanted.identifying.items()
        if name not in CHANGEABLE
    )


def _has_same_images(one: RunSpec, other: RunSpec) -> bool:
    return (one.train_digest, one.test_digest) == (other.train_digest, other.test_digest)


def _look_up(workspace: Workspace, pipeline: str | Pipeline) -> _PipelineSource:
    if not isinstance(pipeline, str):
        name = _kebab_case(type(pipeline).__name__)
        require_pipeline(pipeline, f"pipeline {name!r}")
        return _PipelineSource(
            build=lambda: pipeline,
            spec=f"object:{name}",
            name=name,
            family=str(getattr(pipeline, "FAMILY", "?")),
            label=name,
            source_hash=_object_hash(pipeline),
            from_object=True,
            plugin=None,
        )
    resolved = workspace.resolve("pipeline", pipeline)
    entry = resolved.entry
    with plugin_errors(entry.name, entry.plugin):
        built = resolved.make()  # parameters that exclude each other fail now, not amid a run
    require_pipeline(built, f"pipeline {entry.name!r} ({entry.origin})")
    return _PipelineSource(
        build=resolved.make,
        spec=resolved.spec,
        name=entry.name,
        family=entry.family,
        label=resolved.label,
        source_hash=entry.source_hash,
        from_object=False,
        plugin=entry.plugin,
    )


def _require_runs_outside(workspace: Workspace, runs_folder: Path, dataset: str) -> None:
    """Raise UserError if the folder of images holds the runs, whose pictures would be a class."""
    name, values = parse_spec(dataset)
    if name == "subset" and "of" in values:
        _require_runs_outside(workspace, runs_folder, workspace.dataset_spec(values["of"]))
    if name != "folder" or not values.get("path"):
        return
    images = Path(values["path"]).expanduser().resolve()
    if runs_folder.resolve().is_relative_to(images):
        raise UserError(
            f"runs are kept in {runs_folder}, which would become part of the dataset "
            f"{values['path']}; work in another folder, or give --config"
        )


def _kebab_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()


def _object_hash(pipeline: Pipeline) -> str:
    """Hash the class's source and the object's plain attributes, since those are its settings."""
    try:
        source = inspect.getsource(type(pipeline))
    except (OSError, TypeError):
        source = type(pipeline).__qualname__
    attributes = sorted(vars(pipeline).items(), key=lambda item: item[0])
    return hashlib.sha256(f"{source} {attributes}".encode()).hexdigest()[:16]
