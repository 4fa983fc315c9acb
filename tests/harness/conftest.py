"""Results made by hand, for everything that reads or shows them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.runs.record import Record
from harness.runs.result import COST_FIELDS, Cost, Estimate, Interval, Result
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
    "top1_error": 12.3456,
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


@pytest.fixture(scope="session")
def make_run(make_result: Callable[..., Result]) -> Callable[..., tuple[Result, Path]]:
    """Write the record of such a run below `root` and return its result and folder.

    `spec` holds fields of RunSpec.
    """

    def make(
        root: Path, *, spec: dict[str, Any] | None = None, **fields: Any
    ) -> tuple[Result, Path]:
        result = make_result(**fields)
        record = Record(root / "runs" / f"{result.run_id}.unfinished")
        record.folder.mkdir(parents=True)
        names = (
            "pipeline", "dataset", "title", "seed", "source_hash", "train_digest", "test_digest",
        )  # fmt: skip
        asked = {name: getattr(result, name) for name in names}
        classes = tuple(map(str, range(result.classes)))
        asked |= {"kind": "fit", "class_names": classes, **(spec or {})}
        record.save_spec(RunSpec(**asked))
        record.save_log(["fitted, scored"])
        record.finish(result)
        return result, record.folder

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
