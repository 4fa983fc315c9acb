"""The run that stands above the runs of several seeds: their means, and what they came to in words."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.runs.record import Record
from harness.runs.result import Result
from harness.runs.run_store import RunStore
from harness.runs.spec import RunSpec
from harness.settings import Settings
from harness.spec import parse_spec
from harness.tracking.client import find, find_or_create, log, milliseconds
from harness.tracking.contents import figures
from harness.tracking.links import page

PARENT_TAG = "mlflow.parentRunId"  # by which the UI nests runs


def parent_of(client: Any, settings: Settings, folder: Path, started: str) -> str | None:
    """MLflow's id of the run above this one, made where missing; None for a run by itself. `started`: of the first run below."""
    above = Record(folder).spec.seed_group
    return find_or_create(client, settings, above.run_id, started) if above else None


def update_parent(client: Any, experiment: str, parent: str, folder: Path) -> None:
    """Say of the run above what the runs below it have come to so far, as their folders have it."""
    from mlflow.entities import Metric

    spec = Record(folder).spec
    assert spec.seed_group
    below = [
        record
        for record in RunStore(folder.parent).readable()
        if record.spec.seed_group == spec.seed_group
    ]
    results = [record.result for record in below if record.finished]
    params = {
        "pipeline": spec.pipeline,
        "dataset": spec.dataset,
        "seeds": str(spec.seed_group.seeds),
    }
    pages = {record.run_id: _page(client, experiment, record.run_id) for record in below}
    tags = {
        "pipeline": parse_spec(spec.pipeline)[0],
        "dataset": spec.title,
        "notes": f"mean of {len(results)} seeds"
        + "".join(f"; {note}" for note in (results[0].notes if results else ())),
        "mlflow.note.content": _describe(spec, results, pages),
    }
    moment = milliseconds(results[-1].finished) if results else 0
    metrics = [Metric(name, value, moment, len(results)) for name, value in _means(results).items()]
    log(client, parent, params=params, tags=tags, metrics=metrics)
    if len(results) == spec.seed_group.seeds:
        client.set_terminated(parent, "FINISHED", moment)
    else:
        client.update_run(
            parent,
            "RUNNING"
            if all(record.state in ("finished", "tuned", "running") for record in below)
            else "FAILED",
        )


def _page(client: Any, experiment: str, run_id: str) -> str | None:
    run = find(client, experiment, run_id)
    return page(experiment, run.info.run_id) if run else None


def _means(results: Sequence[Result]) -> dict[str, float]:
    """Of the figures that every run has, and the standard deviation of the top-1 error over seeds. An interval has no mean."""
    found = [figures(result) for result in results]
    names = [
        name
        for name in (found[0] if found else ())
        if "_ci_" not in name and all(name in each for each in found)
    ]
    means = {name: float(f"{statistics.mean(each[name] for each in found):.4g}") for name in names}
    if len(results) > 1 and "top1_error" in means:
        means["top1_error_sd"] = round(statistics.stdev(each["top1_error"] for each in found), 2)
    return means


def _describe(spec: RunSpec, results: Sequence[Result], pages: Mapping[str, str | None]) -> str:
    assert spec.seed_group
    means = _means(results)
    name, wanted = parse_spec(spec.pipeline)[0], spec.seed_group.seeds
    error = f"top-1 error {means['top1_error']:.2f} %" if "top1_error" in means else "no test error"
    spread = (
        f", standard deviation {means['top1_error_sd']:.2f} over trainings"
        if "top1_error_sd" in means
        else ""
    )
    head = f"**{name}** on {spec.title}, {len(results)} of {wanted} seeds: {error}{spread}."
    rows = [
        f"| [{result.run_id}]({pages[result.run_id]}) | {result.seed} | {_percent(result.top1_error.value if result.top1_error else None)} | {_percent(result.tune_top1_error)} |"
        for result in results
    ]
    return "\n".join(
        [head, "", "| run | seed | top-1 error | top-1 error on tune |", "|---|---|---|---|", *rows]
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} %"
