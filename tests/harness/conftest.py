"""Results made by hand, for everything that reads or shows them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data.identity import split_digest
from harness.metrics.errors import measure_errors
from harness.runs.record import Record
from harness.runs.result import COST_FIELDS, Cost, Estimate, Interval, Result, Scores
from harness.runs.spec import RunSpec

BASELINE = {
    "run_id": "baseline-digits-1",
    "pipeline": "baseline,cell=8,flip=true",
    "name": "baseline",
    "label": "baseline",
    "family": "hand-crafted",
    "dataset": 'digits,classes="0,1"',
    "title": "digits",
    "seed": 3,
    "classes": 10,
    "n_train": 900,
    "n_tune": 100,
    "n_test": 797,
    "n_fit": 1000,
    "refitted": True,
    "limit": None,
    "limit_test": None,
    "tune": None,
    "train_digest": "a" * 32,
    "test_digest": "b" * 32,
    "identity": "c" * 16,
    "source_hash": "d" * 16,
    "test_evaluations": 2,
    "top1_error": 12.3456,  # in a record 98 of 797, see make_run
    "top1_error_ci_low": 10.2,
    "top1_error_ci_high": 14.8,
    "top5_error": 1.2345,
    "top5_error_ci_low": 0.6,
    "top5_error_ci_high": 2.2,
    "mean_class_error": 12.5,
    "tune_top1_error": 11.0,
    "fit_seconds": 123.456,
    "score_seconds": 1.5,
    "cached_seconds": 0.0,
    "images_per_second": 531.3,
    "peak_memory_mb": 812.3,
    "params_millions": None,
    "gflops_per_image": None,
    "notes": ("recipe: short",),
    "dataset_notes": ("no official split",),
    "missing_reasons": {"params_millions": "no network", "gflops_per_image": "not counted"},
    "machine": {"cpu": "two cores"},
    "versions": {"torch": "2"},
    "started": "2026-01-01T10:00:00+00:00",
    "finished": "2026-01-01T10:03:00.250000+00:00",
    "command": "harness run --pipeline baseline --data digits",
    "curves": {},
}


@pytest.fixture(scope="session")
def make_result() -> Callable[..., Result]:
    """Build the result of a run of `baseline` on `digits`.

    Fields may be given flat, as in `Result.to_flat_dict`: `top1_error=12.3, fit_seconds=4.0`.
    """

    def make(**fields: Any) -> Result:
        flat = {**BASELINE, **fields}
        for name in ("top1_error", "top5_error"):
            low, high = flat.pop(f"{name}_ci_low"), flat.pop(f"{name}_ci_high")
            value = flat[name]
            flat[name] = None if value is None else Estimate(value, Interval(low, high))
        cost = Cost(**{name: flat.pop(name) for name in COST_FIELDS if name in flat})
        return Result(**flat, cost=cost)

    return make


def ranked_scores(classes: int, ranks: np.ndarray) -> Scores:
    """Return scores in which image i has the true class i modulo `classes` at this rank."""
    labels = np.arange(len(ranks)) % classes
    scores = np.zeros((len(ranks), classes), dtype=np.float32)
    for image, rank in enumerate(ranks):
        others = np.delete(np.arange(classes), labels[image])
        scores[image, labels[image]] = 1
        scores[image, others[:rank]] = 2
    return Scores(np.array([f"{i:016x}" for i in range(len(ranks))]), labels, scores)


def scores_of(result: Result) -> tuple[Scores | None, Scores | None]:
    """Return scores of test and tune whose errors are those of the result, to the nearest image."""
    test = tune = None
    if result.top1_error is not None:
        ranks = np.zeros(result.n_test, dtype=int)
        ranks[: round(result.n_test * result.top1_error.value / 100)] = 1
        if result.top5_error is not None:
            ranks[: round(result.n_test * result.top5_error.value / 100)] = 5
        test = ranked_scores(result.classes, ranks)
    if result.tune_top1_error is not None:
        ranks = np.zeros(result.n_tune, dtype=int)
        ranks[: round(result.n_tune * result.tune_top1_error / 100)] = 1
        tune = ranked_scores(result.classes, ranks)
    return test, tune


@pytest.fixture(scope="session")
def write_record() -> Callable[..., Record]:
    """Write a finished record that agrees with itself.

    The result gets the errors of the scores and the digest of their images, in which its own
    `test_digest` stands for what distinguishes these images from others. `spec` holds fields of
    RunSpec.
    """

    def write(
        runs: Path,
        draft: Result,
        test: Scores | None,
        tune: Scores | None = None,
        spec: dict[str, Any] | None = None,
    ) -> Record:
        names = (
            "pipeline", "dataset", "title", "seed", "tune", "limit", "limit_test", "source_hash",
            "train_digest",
        )  # fmt: skip
        tune_error = measure_errors(tune).top1_error
        fields: dict[str, Any] = {
            "kind": "fit",
            **{name: getattr(draft, name) for name in names},
            "class_names": tuple(map(str, range(draft.classes))),
            "test": test is not None,
            "preparation": f"images {draft.test_digest}",
            **(spec or {}),
        }
        keys, labels = (test.keys, test.labels) if test else (np.array([], str), np.array([], int))
        asked = RunSpec(test_digest=split_digest(fields["preparation"], keys, labels), **fields)
        result = replace(
            draft,
            n_test=len(keys),
            n_fit=draft.n_train + (draft.n_tune if draft.refitted else 0),
            identity=asked.identity,
            test_digest=asked.test_digest,
            tune_top1_error=tune_error.value if tune_error else None,
            **vars(measure_errors(test)),
        )
        record = Record(runs / f"{result.run_id}.unfinished")
        record.folder.mkdir(parents=True)
        record.save_spec(asked)
        if test:
            record.save_scores(test)
        if tune:
            record.save_scores(tune, "tune_scores")
        record.save_log(["fitted, scored"])
        record.finish(result)
        return Record(record.folder)

    return write


@pytest.fixture(scope="session")
def make_run(
    make_result: Callable[..., Result], write_record: Callable[..., Record]
) -> Callable[..., tuple[Result, Path]]:
    """Write the record of such a run below `root` and return its result and folder.

    Its errors are the nearest that its images can have. `spec` holds fields of RunSpec.
    """

    def make(
        root: Path, *, spec: dict[str, Any] | None = None, **fields: Any
    ) -> tuple[Result, Path]:
        draft = make_result(**fields)
        record = write_record(root / "runs", draft, *scores_of(draft), spec=spec)
        return record.result, record.folder

    return make


@pytest.fixture(scope="session")
def make_spec() -> Callable[..., RunSpec]:
    """Build what a run of `baseline` on `digits` was asked to do: `make_spec(seed=1)`."""

    def make(**fields: Any) -> RunSpec:
        names = ("pipeline", "dataset", "title", "source_hash", "train_digest", "test_digest")
        asked = {name: BASELINE[name] for name in names}
        classes = tuple(map(str, range(10)))
        return RunSpec(
            **{
                "kind": "fit",
                "seed": 0,
                "class_names": classes,
                **asked,
                "dataset": "digits",
                **fields,
            }
        )

    return make


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a database with MLflow's tables, which takes seconds; tests work on copies."""
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{file}").search_experiments(max_results=1)
    return file


@pytest.fixture
def store(workdir: Path, empty_store: Path) -> None:
    """The working folder has a tracking store already."""
    shutil.copy(empty_store, workdir / "mlflow.db")
