"""What a run shows in MLflow: parameters, metrics, tags, datasets, and a description that tells it in words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from harness import __version__
from harness.render.text import duration
from harness.runs.result import Result
from harness.spec import parse_spec
from harness.tracking.client import allowed, milliseconds

WIDTH = 80  # characters of a command in a line
PERCENT = (
    "top1_error",
    "top1_error_ci_low",
    "top1_error_ci_high",
    "top5_error",
    "mean_class_error",
    "tune_top1_error",
)
COST = (
    "fit_seconds", "score_seconds", "cached_seconds", "fit_cpu_seconds", "score_cpu_seconds", "cached_cpu_seconds", "fit_device_seconds",
    "score_device_seconds", "images_per_second", "peak_memory_mb", "params_millions", "gflops_per_image", "model_bytes",
)  # fmt: skip


def params(result: Result) -> dict[str, str]:
    params: dict[str, Any] = {"pipeline": result.pipeline, "dataset": result.dataset}
    for owner in ("pipeline", "dataset"):
        params |= {f"{owner}.{key}": value for key, value in parse_spec(params[owner])[1].items()}
    names = (
        "seed",
        "tune",
        "limit",
        "limit_test",
        "classes",
        "n_train",
        "n_tune",
        "n_test",
        "n_fit",
        "refitted",
    )
    params |= {name: getattr(result, name) for name in names}
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in params.items()
        if value is not None
    }


def figures(result: Result) -> dict[str, float]:
    """The headline figures that could be had, with no more digits than a reader needs: the table shows every digit that is logged."""
    flat = result.to_flat_dict()
    found = {name: (flat[name], lambda value: round(value, 2)) for name in PERCENT}
    found |= {name: (flat[name], lambda value: float(f"{value:.4g}")) for name in COST}
    return {name: rounded(value) for name, (value, rounded) in found.items() if value is not None}


def metrics(result: Result) -> list[Any]:
    """The headline figures, once each, and the curves by step. A figure that could not be had is left out, never 0."""
    from mlflow.entities import Metric

    moment = milliseconds(result.finished)
    headline = [Metric(name, value, moment, 0) for name, value in figures(result).items()]
    # MLflow would store an infinite loss as 1.8e308, which flattens the chart.
    points = [
        Metric(allowed(name), value if math.isfinite(value) else math.nan, moment, step)
        for name, curve in result.curves.items()
        for step, value in curve
    ]
    return headline + points


def tags(result: Result) -> dict[str, str]:
    return {
        "pipeline": result.name,
        "family": result.family,
        "dataset": result.title,
        "test_digest": result.test_digest,
        "train_digest": result.train_digest,
        "identity": result.identity,
        "source_hash": result.source_hash,
        "harness.version": __version__,
        "notes": "; ".join(result.notes) or "-",
    }


def dataset_inputs(result: Result) -> list[Any]:
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import DatasetInput, InputTag

    source = CodeDatasetSource({"spec": result.dataset})
    return [
        DatasetInput(
            MetaDataset(source, name=f"{result.title} {split}", digest=digest)._to_mlflow_entity(),
            [InputTag("mlflow.data.context", split)],
        )
        for split, digest in (("train", result.train_digest), ("test", result.test_digest))
    ]


def describe(result: Result, members: Mapping[str, str | None]) -> str:
    """The run in words, as Markdown: what was measured on what, what it cost, and what a reader must know.

    members  of an ensemble: run id -> its page, or None where the store lacks it
    """
    interval = ""
    if result.top1_error is not None:
        interval = f" (95 % interval {result.top1_error.interval.low:.2f} to {result.top1_error.interval.high:.2f})"
    rows = [
        ("top-1 error", _figure(result, "top1_error", "{:.2f} %") + interval),
        ("top-5 error", _figure(result, "top5_error", "{:.2f} %")),
        ("mean class error", _figure(result, "mean_class_error", "{:.2f} %")),
        ("top-1 error on tune", _figure(result, "tune_top1_error", "{:.2f} %")),
        (
            "fit, tuning included",
            f"{result.cost.fit_seconds:.1f} s, of which {result.cost.cached_seconds:.1f} s came from the cache",
        ),
        ("processor in fit", _figure(result, "fit_cpu_seconds", "{:.1f} s")),
        ("accelerators in fit", _figure(result, "fit_device_seconds", "{:.1f} s")),
        ("score", _figure(result, "score_seconds", "{:.1f} s")),
        ("images scored per second", _figure(result, "images_per_second", "{:.0f}")),
        ("peak memory", f"{result.cost.peak_memory_mb:.0f} MB"),
        ("model", _figure(result, "model_bytes", "{:,} bytes")),
        ("parameters", _figure(result, "params_millions", "{:.3g} million")),
        ("cost of one image", _figure(result, "gflops_per_image", "{:.3g} GFLOPs")),
    ]
    lines = [
        _in_short(result, interval),
        "",
        "; ".join(result.notes) or "No notes.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows),
        "",
        f"Look {result.test_evaluations} of this pipeline at this test split.",
        "",
        *(f"- {remark}" for remark in result.dataset_notes),
        "",
        *_linked("Members", members),
        "```",
        folded(result.command),
        "```",
    ]
    return "\n".join(lines)


def _in_short(result: Result, interval: str) -> str:
    """All that fits above the fold of the run's page, which shows three lines of a description."""
    error = _figure(
        result, "top1_error", "top-1 error {:.2f} %" + f"{interval} on {result.n_test} images"
    )
    top5 = f"; top-5 error {result.top5_error.value:.2f} %" if result.top5_error is not None else ""
    refitted = " (train + tune, after tuning)" if result.refitted else ""
    scored = (
        f", scored in {duration(result.cost.score_seconds)}"
        if result.cost.score_seconds is not None
        else ""
    )
    return (
        f"**{result.name}** ({result.family}) on {result.title}: {error}{top5}. Fitted on {result.n_fit} labeled images{refitted} in "
        f"{duration(result.cost.fit_seconds)}, tuning included{scored}; {result.cost.peak_memory_mb:.0f} MB of memory at most."
    )


def folded(command: str) -> str:
    """Over several lines that a shell reads as one: a page of MLflow is as wide as its longest line. Quoted parts stay whole."""
    lines = [""]
    for part in re.findall(r"(?:'[^']*'|[^ ,'])+[ ,]?|[ ,]", command):
        if lines[-1] and len(lines[-1] + part) > WIDTH:
            lines.append("")
        lines[-1] += part
    return "\\\n".join(lines)


def _linked(what: str, runs: Mapping[str, str | None]) -> list[str]:
    return (
        [
            f"{what}: {', '.join(f'[{run_id}]({page})' if page else run_id for run_id, page in runs.items())}",
            "",
        ]
        if runs
        else []
    )


def _figure(result: Result, name: str, form: str) -> str:
    value = result.to_flat_dict()[name]
    return (
        f"not available: {result.missing_reasons.get(name, 'no reason given')}"
        if value is None
        else form.format(value)
    )
