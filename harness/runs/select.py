"""Which records a spec or run id refers to."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from harness.errors import UserError
from harness.registry import Registry
from harness.runs.record import SUFFIX, Record
from harness.runs.result import Result
from harness.runs.run_store import RunStore
from harness.settings import load_settings


class NoSuchRun(UserError):
    """There is no finished run of `spec` to compare; says what to type."""

    def __init__(self, message: str, spec: str) -> None:
        super().__init__(message)
        self.spec = spec


def find_groups(
    *runs: str | Result,
    dataset: str | None = None,
    config: Path | None = None,
    data_root: Path | str | None = None,
    plugins: Sequence[str] = (),
) -> list[list[Record]]:
    """The records that `compare` compares: a group a row, one record a seed. Raises UserError for fewer than two, and where one is missing."""
    if len(runs) < 2:
        raise UserError(
            f"give two or more pipelines or run ids, such as baseline alexnet, got {len(runs)}"
        )
    return [
        find_records(run, dataset=dataset, config=config, data_root=data_root, plugins=plugins)
        for run in runs
    ]


def find_records(
    run: str | Result,
    *,
    dataset: str | None,
    config: Path | None,
    data_root: Path | str | None,
    plugins: Sequence[str],
) -> list[Record]:
    """The finished records that an argument of `compare` names, one a seed. Raises UserError when there are none."""
    runs = RunStore(load_settings(config).runs)
    name = run.run_id if isinstance(run, Result) else run
    for folder in (runs.folder / name, runs.folder / f"{name}{SUFFIX}"):
        if "," not in name and (folder / "spec.json").exists():
            return [_usable(Record(folder))]
    if isinstance(run, Result):
        raise UserError(f"the record of run {name} is not in {runs.folder}")
    from harness.commands import as_flags
    from harness.data.load import dataset_spec

    registry = Registry(plugins)
    *_, pipeline = registry.resolve("pipeline", name)
    *_, data = registry.resolve("dataset", dataset_spec(dataset, registry, data_root))
    whole = [
        r
        for r in runs.finished()
        if r.state == "finished" and r.result.limit is None and r.result.limit_test is None
    ]
    here = [r for r in whole if registry.says(r.result.pipeline, "pipeline", pipeline)]
    here = [r for r in here if registry.says(r.result.dataset, "dataset", data)]
    if not here:
        flags = as_flags(dataset=dataset, data_root=data_root, config=config, plugins=plugins)
        raise NoSuchRun(_no_run(name, pipeline, data, runs, flags), name)
    alike = {r.result.seed: r for r in here if _only_seed_differs(r.result, here[-1].result)}
    return [alike[seed] for seed in sorted(alike)]


def _only_seed_differs(one: Result, other: Result) -> bool:
    """Of two whole runs of one pipeline on one dataset, which may have changed in between."""
    same = ("source_hash", "tune", "train_digest", "test_digest")
    return all(getattr(one, name) == getattr(other, name) for name in same)


def _usable(record: Record) -> Record:
    record.require_finished()
    if record.state == "tuned":
        raise UserError(
            f"run {record.run_id} stopped after tune (--no-test) and has no test scores to compare"
        )
    return record


def _no_run(run: str, pipeline: str, data: str, runs: RunStore, flags: str) -> str:
    """Says what to type: the missing run, or --dataset where there are runs on other data."""
    message = (
        f"no finished, unlimited run of {run} on {data}; make one with: harness run --pipeline {shlex.quote(run)}{flags} "
        f"(or give --run-missing)"
    )
    of_it = [
        r.result for r in runs.finished() if r.state == "finished" and r.result.pipeline == pipeline
    ]
    elsewhere = {result.title for result in of_it if result.dataset != data}
    return message + (
        f"; there are runs of it on {', '.join(sorted(elsewhere))}: give --dataset"
        if elsewhere
        else ""
    )


def same_images(records: Sequence[Record], *, allow_different_train: bool) -> list[str]:
    """How what they learned from differs. Raises UserError when it does and may not, and where test splits or numbers of classes differ."""
    reference = records[0].result
    warnings = []
    for result in (record.result for record in records):
        if result.test_digest != reference.test_digest:
            raise UserError(
                f"{result.run_id} and {reference.run_id} were scored on different test splits ({result.title}: {result.test_digest}, "
                f"{reference.title}: {reference.test_digest}); take runs of one dataset with the same limits"
            )
        if (
            result.classes != reference.classes
        ):  # one may have no test image, and so leave the test digest as it was
            raise UserError(
                f"{result.run_id} tells {result.classes} classes apart and {reference.run_id} {reference.classes} (of {result.title}); "
                f"take runs of one state of the dataset"
            )
        if result.train_digest != reference.train_digest:
            difference = (
                f"{result.run_id} learned from other images than {reference.run_id} (train + tune: {result.n_train + result.n_tune} against "
                f"{reference.n_train + reference.n_tune}, digests {result.train_digest[:8]} and {reference.train_digest[:8]})"
            )
            if not allow_different_train:
                raise UserError(f"{difference}; to take both all the same: --allow-different-train")
            warnings.append(difference)
    return warnings
