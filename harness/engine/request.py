"""What is asked for: a run with everything looked up and nothing yet done; fresh, or an unfinished one to go on with."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.contract import Pipeline
from harness.data.load import Splits, dataset_spec, load_dataset
from harness.data.root import data_root as default_data_root
from harness.data.split import Dataset, Split
from harness.errors import UserError
from harness.registry import Registry
from harness.render.text import duration
from harness.runs.liveness import STALE_AFTER_SECONDS
from harness.runs.record import Record
from harness.runs.run_store import RunStore
from harness.settings import Settings, load_settings
from harness.spec import parse_spec


@dataclass(frozen=True)
class Request:
    """A run with everything resolved and nothing yet done."""

    build: Callable[[], Pipeline]
    pipeline: str  # resolved spec
    name: str
    family: str
    source_hash: str
    splits: Splits
    seed: int
    tune: int | None
    limit: int | None
    limit_test: int | None
    test: bool
    plugins: tuple[str, ...]
    settings: Settings
    data_root: Path
    parent: Mapping[str, Any] | None = (
        None  # the run of several seeds that this one is part of: run_id, seeds (how many)
    )

    @property
    def spec(self) -> dict[str, Any]:
        """What makes two runs the same run, the state of the source and of the data included."""
        return {
            "pipeline": self.pipeline,
            "dataset": self.splits.spec,
            "seed": self.seed,
            "tune": self.tune,
            "limit": self.limit,
            "limit_test": self.limit_test,
            "test": self.test,
            "source_hash": self.source_hash,
            "train_digest": self.splits.fit_digest,
            "test_digest": self.splits.test.digest,
        }

    @property
    def record(self) -> dict[str, Any]:
        """What spec.json holds: the above, and what it takes to load the fitted pipeline again."""
        train = self.splits.train
        facts = {
            "title": self.splits.title,
            "class_names": train.class_names,
            "image_size": train.image_size,
        }
        parent = {"parent": self.parent} if self.parent else {}
        return {
            **self.spec,
            **facts,
            "preparation": train.preparation,
            "plugins": self.plugins,
            **above,
        }

    @property
    def identity(self) -> str:
        return hashlib.sha256(json.dumps(self.spec, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def command(self) -> str:
        """What to type to do this run again."""
        words = [
            "harness",
            "run",
            "--pipeline",
            self.pipeline,
            "--dataset",
            self.splits.spec,
            "--seed",
            str(self.seed),
        ]
        for flag, value in {
            "--tune": self.tune,
            "--limit": self.limit,
            "--limit-test": self.limit_test,
        }.items():
            words += [flag, str(value)] if value is not None else []
        words += [] if self.test else ["--no-test"]
        words += (
            []
            if self.data_root == default_data_root(None)
            else ["--data-root", str(self.data_root)]
        )
        for plugin in self.plugins:
            words += ["--plugins", plugin]
        return shlex.join(words)


def resolve(
    pipeline: str | Pipeline,
    dataset: str | tuple[Split, Split] | Dataset | None = None,
    *,
    seed: int = 0,
    tune: int | None = None,
    limit: int | None = None,
    limit_test: int | None = None,
    test: bool = True,
    config: Path | None = None,
    data_root: Path | str | None = None,
    plugins: Sequence[str] = (),
    parent: Mapping[str, Any] | None = None,
) -> Request:
    """Look everything up. Raises UserError for whatever was asked wrongly, before any work is done."""
    settings = load_settings(config)
    registry = Registry(plugins)
    if isinstance(pipeline, str):
        entry, build, values, spec = registry.resolve("pipeline", pipeline)
        builder, name, family, source_hash = (
            (lambda: build(**values)),
            entry.name,
            entry.family,
            entry.source_hash,
        )
        builder()  # parameters that do not go together are told now, not in the middle of a run
    else:
        given = pipeline
        builder, name, family, source_hash = (
            (lambda: given),
            _object_name(given),
            str(getattr(given, "FAMILY", "?")),
            _object_hash(given),
        )
        spec = f"object:{name}"
    if dataset is None or isinstance(dataset, str):
        _check_apart(settings, dataset, registry, data_root)
    return Request(
        build=builder,
        pipeline=spec,
        name=name,
        family=family,
        source_hash=source_hash,
        splits=load_dataset(
            dataset,
            tune=tune,
            limit=limit,
            limit_test=limit_test,
            data_root=data_root,
            plugins=registry.plugins,
        ),
        seed=seed,
        tune=tune,
        limit=limit,
        limit_test=limit_test,
        test=test,
        plugins=registry.plugins,
        settings=settings,
        data_root=default_data_root(data_root),
        parent=parent,
    )


def _check_apart(
    settings: Settings, dataset: str | None, registry: Registry, data_root: Path | str | None
) -> None:
    """Raises UserError where runs would be kept inside the folder of images: their pictures would be another class of the next run."""
    name, values = parse_spec(dataset_spec(dataset, registry, data_root))
    if name == "subset" and "of" in values:
        _check_apart(settings, values["of"], registry, data_root)
    if (
        name == "folder"
        and "path" in values
        and settings.runs.resolve().is_relative_to(Path(values["path"]).expanduser().resolve())
    ):
        raise UserError(
            f"runs are kept in {settings.runs}, which would become part of the dataset {values['path']}; work in another folder, or give --config"
        )


def resumable(request: Request, wanted: str) -> Record:
    """The unfinished run to go on with: by id, or `latest` of the same identity.

    Raises UserError when there is none, it is still running, or source or data have changed since it began.
    """
    runs = RunStore(request.settings.runs)
    if wanted != "latest":
        candidates = [runs.find(wanted)]
    else:
        loose = {"source_hash", "train_digest", "test_digest"}
        candidates = [
            r for r in runs.readable() if not r.finished and all(r.spec.get(k) == v for k, v in request.spec.items() if k not in loose)
        ]  # fmt: skip
    if not candidates:
        raise UserError(
            f"there is no unfinished run of {request.pipeline} on {request.splits.spec} with seed {request.seed} to resume; see: harness runs"
        )
    record = candidates[-1]
    if record.finished:
        raise UserError(f"run {record.run_id} is finished; there is nothing to resume")
    if record.state == "running":
        raise UserError(
            f"run {record.run_id} is still running (process {record.status['pid']} on {record.status['host']}); "
            f"if that machine is gone, try again {duration(STALE_AFTER_SECONDS)} after the run's last sign of life"
        )
    for key, value in request.spec.items():
        if record.spec.get(key) != value:
            what = {
                "source_hash": "the source of the pipeline",
                "train_digest": "the training data",
                "test_digest": "the test data",
            }
            raise UserError(
                f"run {record.run_id} cannot be resumed: {what.get(key, key)} has changed since it began "
                f"({record.spec.get(key)} then, {value} now); start afresh without --resume, or put it back"
            )
    return record


def _object_name(pipeline: Pipeline) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", type(pipeline).__name__).lower()


def _object_hash(pipeline: Pipeline) -> str:
    """Of the class's source text and the object's plain attributes, since those are its settings."""
    try:
        source = inspect.getsource(type(pipeline))
    except (OSError, TypeError):
        source = type(pipeline).__qualname__
    return hashlib.sha256(
        f"{source} {sorted(vars(pipeline).items(), key=lambda item: item[0])}".encode()
    ).hexdigest()[:16]
