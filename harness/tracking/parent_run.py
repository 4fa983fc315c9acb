"""The parent of the runs of several seeds in MLflow: it shows their means."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from harness.render.text import percent
from harness.runs.record import Record
from harness.runs.result import Result
from harness.runs.run_store import RunStore
from harness.runs.spec import RunSpec
from harness.spec import parse_spec
from harness.tracking.client import TrackingClient, to_milliseconds
from harness.tracking.contents import headline_metrics
from harness.tracking.links import run_page

PARENT_TAG = "mlflow.parentRunId"  # the UI nests runs by it


def find_or_create_parent(client: TrackingClient, record: Record, started: str) -> str | None:
    """Return MLflow's id of the parent of this run, which is created when missing.

    Parameters
    ----------
    client : TrackingClient
    record : Record
    started : str
        ISO 8601; the start of a parent that is created.

    Returns
    -------
    str or None
        None for a run that belongs to no group of seeds.
    """
    group = record.spec.seed_group
    return client.find_or_create_run(group.run_id, started) if group else None


def update_parent(client: TrackingClient, parent_id: str, record: Record) -> None:
    """Log the means over the runs of this record's seed group that have finished so far.

    Parameters
    ----------
    client : TrackingClient
    parent_id : str
        MLflow's id of the parent.
    record : Record
        One run of the group; the others lie beside it.
    """
    spec = record.spec
    assert spec.seed_group
    records = RunStore(record.folder.parent).readable()
    group = [other for other in records if other.spec.seed_group == spec.seed_group]
    results = [member.result for member in group if member.finished]
    seeds = spec.seed_group.seeds
    pages = {member.run_id: _find_page(client, member.run_id) for member in group}
    notes = results[0].notes if results else ()
    tags = {
        "pipeline": parse_spec(spec.pipeline)[0],
        "dataset": spec.title,
        "notes": "; ".join([f"mean of {len(results)} seeds", *notes]),
        "mlflow.note.content": _describe(spec, results, pages),
    }
    client.log(
        parent_id,
        params={"pipeline": spec.pipeline, "dataset": spec.dataset, "seeds": str(seeds)},
        tags=tags,
        metrics=_metrics(results),
    )
    if len(results) == seeds:
        client.end_run(parent_id, "FINISHED", results[-1].finished)
    else:
        healthy = all(member.state in ("finished", "tuned", "running") for member in group)
        client.set_status(parent_id, "RUNNING" if healthy else "FAILED")


def _find_page(client: TrackingClient, run_id: str) -> str | None:
    run = client.find_run(run_id)
    return run_page(client.experiment_id, run.info.run_id) if run else None


def _metrics(results: Sequence[Result]) -> list[Any]:
    """Return the means as mlflow's metrics; their step is the number of seeds."""
    from mlflow.entities import Metric

    moment = to_milliseconds(results[-1].finished) if results else 0
    return [Metric(name, value, moment, len(results)) for name, value in _means(results).items()]


def _means(results: Sequence[Result]) -> dict[str, float]:
    """Return the mean of each metric that every run has, and the spread of the top-1 error.

    The bounds of an interval are left out: their mean bounds nothing.
    """
    metrics = [headline_metrics(result) for result in results]
    common = set.intersection(*map(set, metrics)) if metrics else set()
    means = {
        name: float(f"{statistics.mean(m[name] for m in metrics):.4g}")
        for name in sorted(common)
        if "_ci_" not in name
    }
    if len(results) > 1 and "top1_error" in means:
        means["top1_error_sd"] = round(statistics.stdev(m["top1_error"] for m in metrics), 2)
    return means


def _describe(spec: RunSpec, results: Sequence[Result], pages: Mapping[str, str | None]) -> str:
    """Return the parent's description, in Markdown: the means, then one row per finished run."""
    assert spec.seed_group
    means = _means(results)
    error = f"top-1 error {means['top1_error']:.2f} %" if "top1_error" in means else "no test error"
    if "top1_error_sd" in means:
        error += f", standard deviation {means['top1_error_sd']:.2f} over seeds"
    name = parse_spec(spec.pipeline)[0]
    summary = f"**{name}** on {spec.title}, {len(results)} of {spec.seed_group.seeds} seeds"
    return "\n".join(
        [
            f"{summary}: {error}.",
            "",
            "| run | seed | top-1 error | top-1 error on tune |",
            "|---|---|---|---|",
            *(_table_row(result, pages[result.run_id]) for result in results),
        ]
    )


def _table_row(result: Result, page: str | None) -> str:
    link = f"[{result.run_id}]({page})" if page else result.run_id
    top1_error = result.top1_error.value if result.top1_error else None
    tune_error = percent(result.tune_top1_error)
    return f"| {link} | {result.seed} | {percent(top1_error)} | {tune_error} |"
