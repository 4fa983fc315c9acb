"""What MLflow shows of a run: parameters, metrics, tags, datasets, and a description in words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from harness import __version__
from harness.render.table import markdown
from harness.render.text import duration
from harness.runs.result import COST_FIELDS, Result
from harness.spec import parse_spec
from harness.tracking.client import mlflow_name, to_milliseconds

COMMAND_WIDTH = 80  # characters per line
PERCENT_METRICS = (
    "top1_error",
    "top1_error_ci_low",
    "top1_error_ci_high",
    "top5_error",
    "mean_class_error",
    "tune_top1_error",
    "top1_error_deduplicated",
    "top5_error_deduplicated",
)
COPY_METRICS = ("n_test_in_train", "n_test_repeats")
PARAMS = (
    "seed", "tune", "limit", "limit_test", "classes", "n_train", "n_tune", "n_test", "n_fit",
    "refitted",
)  # fmt: skip


def run_params(result: Result) -> dict[str, str]:
    """Return the specs, their parameters as `pipeline.KEY` and `dataset.KEY`, and the sizes."""
    params: dict[str, Any] = {"pipeline": result.pipeline, "dataset": result.dataset}
    for owner in ("pipeline", "dataset"):
        _, values = parse_spec(params[owner])
        params |= {f"{owner}.{key}": value for key, value in values.items()}
    params |= {name: getattr(result, name) for name in PARAMS}
    return {name: _as_text(value) for name, value in params.items() if value is not None}


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def headline_metrics(result: Result) -> dict[str, float]:
    """Return the final metrics of a run, without those that are missing.

    They are rounded to what a reader needs, since MLflow's table shows every digit.
    """
    figures = {name: v for name, v in result.to_flat_dict().items() if isinstance(v, int | float)}
    percents = {name: round(figures[name], 2) for name in PERCENT_METRICS if name in figures}
    costs = {name: float(f"{figures[name]:.4g}") for name in COST_FIELDS if name in figures}
    copies = {name: figures[name] for name in COPY_METRICS if name in figures}
    return percents | costs | copies


def run_metrics(result: Result) -> list[Any]:
    """Return the headline metrics, once each, and the curves by step, as mlflow's metrics."""
    from mlflow.entities import Metric

    moment = to_milliseconds(result.finished)
    headline = [Metric(name, value, moment, 0) for name, value in headline_metrics(result).items()]
    # MLflow stores an infinite loss as 1.8e308, which flattens the chart.
    curves = [
        Metric(mlflow_name(name), value if math.isfinite(value) else math.nan, moment, step)
        for name, points in result.curves.items()
        for step, value in points
    ]
    return headline + curves


def run_tags(result: Result) -> dict[str, str]:
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
    """Return the train and test splits with our digests, as mlflow's dataset inputs."""
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import DatasetInput, InputTag

    source = CodeDatasetSource({"spec": result.dataset})
    inputs = []
    for split, digest in (("train", result.train_digest), ("test", result.test_digest)):
        dataset = MetaDataset(source, name=f"{result.title} {split}", digest=digest)
        context = InputTag("mlflow.data.context", split)
        inputs.append(DatasetInput(dataset._to_mlflow_entity(), [context]))
    return inputs


def describe_run(result: Result, member_pages: Mapping[str, str | None]) -> str:
    """Return a run's description in Markdown: a summary, notes, errors and costs, the command.

    Parameters
    ----------
    result : Result
    member_pages : mapping of str to str or None
        The page of each member of an ensemble, or None where MLflow lacks it.
    """
    times = "1 time" if result.test_evaluations == 1 else f"{result.test_evaluations} times"
    lines = [
        _summary(result),
        "",
        markdown("; ".join(result.notes)) or "No notes.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in _figures(result)),
        "",
        f"This pipeline was evaluated {times} on this test split, including this run.",
        "",
        *(f"- {markdown(note)}" for note in result.dataset_notes),
        "",
    ]
    if member_pages:
        lines += [f"Members: {', '.join(map(_link, member_pages.items()))}", ""]
    return "\n".join([*lines, "```", fold_command(result.command), "```"])


def _summary(result: Result) -> str:
    """Return one paragraph: a run's page shows only the first three lines of a description."""
    error = _top1_error(result, "top-1 error {:.2f} %")
    if result.top1_error is not None:
        error += f" on {result.n_test} images"
    if result.top5_error is not None:
        error += f"; top-5 error {result.top5_error.value:.2f} %"
    refitted = " (train + tune, after tuning)" if result.refitted else ""
    cost = result.cost
    scored = f", scored in {duration(cost.score_seconds)}" if cost.score_seconds is not None else ""
    return (
        f"**{result.name}** ({result.family}) on {markdown(result.title)}: {error}. "
        f"Fitted on {result.n_fit} labeled images{refitted} in {duration(cost.fit_seconds)} "
        f"including tuning{scored}; peak memory {cost.peak_memory_mb:.0f} MB."
    )


def _top1_error(result: Result, template: str) -> str:
    error = _figure(result, "top1_error", template)
    if result.top1_error is None:
        return error
    interval = result.top1_error.interval
    return f"{error} (95 % interval {interval.low:.2f} to {interval.high:.2f})"


def _figures(result: Result) -> list[tuple[str, str]]:
    """Return the rows of the description's table: name and value, or why it is missing."""
    cost = result.cost
    return [
        ("top-1 error", _top1_error(result, "{:.2f} %")),
        ("top-5 error", _figure(result, "top5_error", "{:.2f} %")),
        ("mean class error", _figure(result, "mean_class_error", "{:.2f} %")),
        ("top-1 error on tune", _figure(result, "tune_top1_error", "{:.2f} %")),
        (
            "fit, including tuning",
            f"{cost.fit_seconds:.1f} s, of which {cost.cached_seconds:.1f} s came from the cache",
        ),
        ("CPU time of fit", _figure(result, "fit_cpu_seconds", "{:.1f} s")),
        ("accelerator time of fit", _figure(result, "fit_device_seconds", "{:.1f} s")),
        ("score", _figure(result, "score_seconds", "{:.1f} s")),
        ("images scored per second", _figure(result, "images_per_second", "{:.0f}")),
        ("peak memory", f"{cost.peak_memory_mb:.0f} MB"),
        ("model size", _figure(result, "model_bytes", "{:,} bytes")),
        ("parameters", _figure(result, "params_millions", "{:.3g} million")),
        ("GFLOPs/image", _figure(result, "gflops_per_image", "{:.3g}")),
    ]


def _figure(result: Result, name: str, template: str) -> str:
    value = result.to_flat_dict()[name]
    if value is None:
        return f"not available: {result.missing_reasons.get(name, 'no reason given')}"
    return template.format(value)


def _link(item: tuple[str, str | None]) -> str:
    run_id, page = item
    return f"[{run_id}]({page})" if page else run_id


def fold_command(command: str) -> str:
    """Break a command into lines that a shell reads as one, since MLflow wraps no code.

    Quoted parts stay on one line.
    """
    lines = [""]
    for part in re.findall(r"(?:'[^']*'|[^ ,'])+[ ,]?|[ ,]", command):
        if lines[-1] and len(lines[-1] + part) > COMMAND_WIDTH:
            lines.append("")
        lines[-1] += part
    return "\\\n".join(lines)
