"""The comparison as a table: rows, columns and notes."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.comparison.cost import FIGURES, Cost
from harness.render.table import WIDTH, _html_table, _markdown_table, markdown
from harness.render.text import age, duration, interval, p_value, percent, size, text_table
from harness.runs.result import Result
from harness.spec import format_spec, parse_spec


@dataclass(frozen=True)
class Row:
    """One pipeline of the table: its runs (one a seed) and how it differs from the reference.

    Errors in percent, deltas in points (this row minus the reference: negative is better), times in seconds; of several seeds
    the means. What makes the top-1 error vary is told apart: `sd` is over seeds, another training on the same images; `se` is the standard
    error over test images, the same trainings on other images. Intervals are of 95 %: Wilson for an error and, as `exact`,
    Clopper-Pearson; of the mean per-class delta once over the images of each class and once over the classes.
    """

    pipeline: str
    name: str
    label: str  # the name, with what tells it from the other rows: `row_labels`
    family: str
    notes: tuple[str, ...]
    run_ids: tuple[str, ...]
    seeds: tuple[int, ...]
    source_hashes: tuple[str, ...]
    finished: tuple[str, ...]
    n_fit: int
    n_labeled: int  # train and tune together
    classes: int
    augmentation: (
        tuple[str, ...] | None
    )  # of the training images; None, here and in views: the record does not tell
    views: int | None
    models: int
    test_evaluations: int
    top1_error: float
    top1_error_ci_low: float
    top1_error_ci_high: float
    top1_error_exact_low: float
    top1_error_exact_high: float
    top1_error_sd: float | None  # None for one seed
    top1_error_se: float
    top5_error: float | None
    mean_class_error: float
    fit_seconds: float
    score_seconds: float
    cost: Cost = field(default_factory=Cost)
    on_frontier: bool | None = (
        None  # no other row of the table is as accurate and as cheap to fit, and better in one of the two
    )
    top1_delta: float | None = None  # None in the reference row, as all below
    top1_delta_low: float | None = None
    top1_delta_high: float | None = None
    top1_delta_seed_se: float | None = (
        None  # standard error that the seeds of both rows leave; None where one has a single seed
    )
    top1_delta_image_se: float | None = None
    top5_delta: float | None = None
    mean_class_delta: float | None = None
    mean_class_delta_low: float | None = None
    mean_class_delta_high: float | None = None
    mean_class_delta_over_classes_low: float | None = None
    mean_class_delta_over_classes_high: float | None = None
    p_value: float | None = None
    p_holm: float | None = None  # adjusted for the number of rows that are tested
    smallest_detectable: float | None = None


@dataclass(frozen=True)
class Comparison:
    """The table and what it stands on."""

    title: str
    dataset: str
    test_digest: str
    n_test: int
    rows: tuple[Row, ...]
    warnings: tuple[str, ...]
    machines: tuple[str, ...]
    link: str | None  # MLflow's table of runs
    one_view: Comparison | None = (
        None  # the same at one view and one model each, where a row averages more and such runs are on record
    )
    runs_link: str | None = None  # MLflow's page of these runs side by side

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_frame(self) -> Any:
        """One row a pipeline, as a pandas DataFrame."""
        import pandas as pd

        flat = [
            {**asdict(row), **{f"cost.{name}": value for name, value in vars(row.cost).items()}}
            for row in self.rows
        ]
        return pd.DataFrame(flat).drop(columns="cost")

    def __str__(self) -> str:
        from harness.comparison.table import comparison_text

        return comparison_text(self)

    def _repr_html_(self) -> str:
        from harness.comparison.table import comparison_html

        return comparison_html(self)


def averages(views: int | None, models: int | None) -> str:
    """How tables say what was averaged at test time; ? for what nobody says."""
    return f"{views or '?'} x {models or '?'}"


def row_labels(rows: Sequence[Row]) -> list[str]:
    """The names; rows of one name with the parameters in which they differ, and where they differ in none, with their runs.

    `none` goes without saying, as it does of a run that is older than the parameter.
    """
    specs = [
        {key: value for key, value in parse_spec(row.pipeline)[1].items() if value != "none"}
        for row in rows
    ]
    labels = []
    for row, values in zip(rows, specs, strict=True):
        others = [spec for other, spec in zip(rows, specs, strict=True) if other.name == row.name]
        different = {
            key: value
            for key, value in values.items()
            if any(spec.get(key) != value for spec in others)
        }
        labels.append(format_spec(row.name, different))
    return [
        f"{label} ({', '.join(row.run_ids)})" if labels.count(label) > 1 else label
        for label, row in zip(labels, rows, strict=True)
    ]


# A figure of Cost -> its column and how a value is written.
COST_COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "fit_cpu_seconds": ("fit CPU", duration),
    "fit_device_seconds": ("fit device", duration),
    "score_cpu_seconds": ("score CPU", duration),
    "score_device_seconds": ("score device", duration),
    "peak_memory_mb": ("memory", lambda value: f"{value:,.0f} MB"),
    "params_millions": ("parameters", lambda value: f"{value:.3g} M"),
    "gflops_per_image": ("GFLOPs an image", lambda value: f"{value:.3g}"),
    "model_bytes": ("model", size),
}


def cost_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """(column names, cells by row), a figure that no row has left out."""
    chosen = [
        name for name in COST_COLUMNS if any(getattr(row.cost, name) is not None for row in rows)
    ]
    head = ["cost", "fit", *(COST_COLUMNS[name][0] for name in chosen), "frontier"]
    return head, [
        [
            row.label,
            duration(row.fit_seconds),
            *_cells(row, chosen),
            "yes" if row.on_frontier else "-",
        ]
        for row in rows
    ]


def _cells(row: Row, chosen: Sequence[str]) -> list[str]:
    values = [(getattr(row.cost, name), COST_COLUMNS[name][1]) for name in chosen]
    return ["-" if value is None else written(value) for value, written in values]


def cost_notes(rows: Sequence[Row]) -> list[str]:
    """How the figures are meant, and why some are not there."""
    missing: dict[str, dict[str, list[str]]] = {}  # reason -> row -> columns
    for row in rows:
        for name, reason in row.cost.missing_reasons.items():
            missing.setdefault(reason, {}).setdefault(row.label, []).append(COST_COLUMNS[name][0])
    return [
        "cost: fit includes tuning on the tune split, and what a cache spared as if spent; CPU is of all threads and processes; frontier: no "
        "other row is both as accurate and as cheap to fit, and better in one of the two, going by these figures and not by their intervals",
        *(f"not in the cost, {reason}: {_grouped(by_row)}" for reason, by_row in missing.items()),
    ]


def _grouped(by_row: dict[str, list[str]]) -> str:
    """`fit CPU, model of hog-svm and alexnet`: rows that lack the same together."""
    together: dict[str, list[str]] = {}
    for row, names in by_row.items():
        together.setdefault(", ".join(names), []).append(row)
    return "; ".join(f"{names} of {', '.join(rows)}" for names, rows in together.items())


assert set(COST_COLUMNS) == set(FIGURES)


ONE_VIEW = "at one view and one model each"


def augmentation(kinds: Sequence[str] | None) -> str:
    return "?" if kinds is None else ", ".join(kinds) or "none"


Column = tuple[str, Callable[[Row], str]]

COLUMNS: tuple[Column, ...] = (
    ("pipeline", lambda r: r.label),
    (
        "top-1 error",
        lambda r: (
            percent(r.top1_error)
            + (f" ± {r.top1_error_sd:.2f}" if r.top1_error_sd is not None else "")
        ),
    ),
    ("95 % interval", lambda r: interval(r.top1_error_ci_low, r.top1_error_ci_high)),
    ("top-5 error", lambda r: percent(r.top5_error)),
    ("delta top-1", lambda r: "reference" if r.top1_delta is None else f"{r.top1_delta:+.2f}"),
    ("95 % interval", lambda r: interval(r.top1_delta_low, r.top1_delta_high) or "-"),
    ("McNemar p", lambda r: p_value(r.p_value)),
    (
        "smallest",
        lambda r: "-" if r.smallest_detectable is None else f"{r.smallest_detectable:.2f}",
    ),
    ("fit", lambda r: duration(r.fit_seconds)),
    ("score", lambda r: duration(r.score_seconds)),
    ("views x models", lambda r: averages(r.views, r.models)),
    ("augmentation", lambda r: augmentation(r.augmentation)),
)
HOLM: Column = ("Holm p", lambda r: p_value(r.p_holm))


def columns(comparison: Comparison) -> list[Column]:
    """Those that say something: Holm's p stands beside McNemar's where more than one row is tested."""
    chosen = list(COLUMNS)
    if len(comparison.rows) > 2:
        chosen.insert([head for head, _ in chosen].index("McNemar p") + 1, HOLM)
    return chosen


def row_notes(row: Row) -> str:
    """The recipe, a variant, anything later than 2012: it stands in every table."""
    return f"({'; '.join(row.notes)})"


def _rich_cells(row: Row, chosen: Sequence[Column], escape: Callable[[str], str]) -> list[str]:
    """The row's cells for a page, its notes in small print below its name."""
    name, *others = [escape(cell(row)) for _, cell in chosen]
    return [f"{name}<br><small>{escape(row_notes(row))}</small>" if row.notes else name, *others]


def footnotes(comparison: Comparison) -> list[str]:
    """What stands below the table, a line each."""
    lines = [
        f"{comparison.title}, n = {comparison.n_test:,} test images, test digest {comparison.test_digest}",
        "delta in points against the first row, negative is better; smallest: the least that the test can show (5 %)",
        "views x models: averaged at test time; augmentation: of the training images; ?: not on record",
        *_statistics(comparison),
        *cost_notes(comparison.rows),
        *comparison.warnings,
        *_caveats_of_one_view(comparison),
    ]
    single = comparison.one_view.rows if comparison.one_view else ()
    listed = {row.run_ids for row in comparison.rows}
    for row in [*comparison.rows, *(row for row in single if row.run_ids not in listed)]:
        for run_id, seed, source, finished in zip(
            row.run_ids, row.seeds, row.source_hashes, row.finished, strict=True
        ):
            lines.append(
                f"{run_id}: {row.pipeline}, seed {seed}, source {source}, {age(finished)} old, looks at test {row.test_evaluations}"
            )
    return [*lines, *(f"times on {machine}" for machine in comparison.machines)]


def _caveats_of_one_view(comparison: Comparison) -> list[str]:
    """Those that are not the whole comparison's already."""
    warnings = comparison.one_view.warnings if comparison.one_view else ()
    return [f"{ONE_VIEW}: {caveat}" for caveat in warnings if caveat not in comparison.warnings]


def _statistics(comparison: Comparison) -> list[str]:
    """What the columns have no room for: exact intervals, deltas by class, and where the errors of several seeds vary from."""
    rows = comparison.rows
    exact = ", ".join(
        f"{row.label} {interval(row.top1_error_exact_low, row.top1_error_exact_high)}"
        for row in rows
    )
    lines = [f"exact 95 % intervals (Clopper-Pearson): {exact}"]
    for row in rows[1:]:
        over_classes = interval(
            row.mean_class_delta_over_classes_low, row.mean_class_delta_over_classes_high
        )
        lines.append(
            f"{row.label} against {rows[0].label}, mean of the classes: {row.mean_class_delta:+.2f}, 95 % interval "
            f"{interval(row.mean_class_delta_low, row.mean_class_delta_high)} with other images of these classes, {over_classes} with other classes"
        )
    for row in rows:
        if row.top1_error_sd is not None:
            lines.append(
                f"{row.label}, {len(row.seeds)} seeds: standard deviation {row.top1_error_sd:.2f} over trainings on these images, "
                f"standard error {row.top1_error_se:.2f} over test images"
            )
        if row.top1_delta_seed_se is not None:
            lines.append(
                f"{row.label} against {rows[0].label}: standard error of the delta {row.top1_delta_seed_se:.2f} from seeds, "
                f"{row.top1_delta_image_se:.2f} from test images, which alone the intervals are of"
            )
    if len(rows) > 2:
        lines.append(
            f"Holm p: that p, adjusted for {len(rows) - 1} pipelines tested against {rows[0].label}"
        )
    return lines


def _text_rows(comparison: Comparison) -> str:
    chosen = columns(comparison)
    head, rule, *lines = text_table(
        [head for head, _ in chosen], [[cell(row) for _, cell in chosen] for row in comparison.rows]
    ).splitlines()
    noted = [
        f"{line}\n  {row_notes(row)}" if row.notes else line
        for line, row in zip(lines, comparison.rows, strict=True)
    ]
    return "\n".join([head, rule, *noted])


def comparison_text(comparison: Comparison) -> str:
    """The table as `harness compare` prints it."""
    table = _text_rows(comparison)
    if comparison.one_view:
        table += f"\n\n{ONE_VIEW}\n\n{_text_rows(comparison.one_view)}"
    table += f"\n\n{text_table(*cost_table(comparison.rows))}"
    notes = [
        textwrap.fill(
            line, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
        for line in footnotes(comparison)
    ]
    return "\n".join([table, "", *notes])


def comparison_markdown(comparison: Comparison) -> str:
    table = _markdown_rows(comparison)
    if comparison.one_view:
        table += ["", f"{ONE_VIEW}:", "", *_markdown_rows(comparison.one_view)]
    table += ["", *_markdown_table(*cost_table(comparison.rows))]
    return "\n".join([*table, "", *(f"- {markdown(line)}" for line in footnotes(comparison))])


def _markdown_rows(comparison: Comparison) -> list[str]:
    chosen = columns(comparison)
    return _markdown_table(
        [head for head, _ in chosen],
        [_rich_cells(row, chosen, markdown) for row in comparison.rows],
    )


def comparison_html(comparison: Comparison) -> str:
    """A table for a notebook."""
    tables = _html_rows(comparison)
    if comparison.one_view:
        tables += f"<p>{ONE_VIEW}</p>{_html_rows(comparison.one_view)}"
    head, rows = cost_table(comparison.rows)
    tables += _html_table(head, [[html.escape(cell) for cell in row] for row in rows])
    notes = "".join(f"<li>{html.escape(line)}</li>" for line in footnotes(comparison))
    return f"{tables}<ul>{notes}</ul>"


def _html_rows(comparison: Comparison) -> str:
    chosen = columns(comparison)
    rows = [_rich_cells(row, chosen, html.escape) for row in comparison.rows]
    return _html_table([head for head, _ in chosen], rows)


RESULT_COLUMNS: tuple[tuple[str, Callable[[Result], str]], ...] = (
    ("run", lambda r: r.run_id),
    ("pipeline", lambda r: r.pipeline),
    ("dataset", lambda r: r.title),
    ("seed", lambda r: str(r.seed)),
    ("n fit", lambda r: f"{r.n_fit:,}"),
    ("n test", lambda r: f"{r.n_test:,}"),
    ("tune top-1 error", lambda r: percent(r.tune_top1_error)),
    ("top-1 error", lambda r: percent(r.top1_error)),
    ("95 % interval", lambda r: interval(r.top1_error_ci_low, r.top1_error_ci_high)),
    ("top-5 error", lambda r: percent(r.top5_error)),
    ("fit", lambda r: duration(r.fit_seconds)),
    ("notes", lambda r: "; ".join(r.notes)),
)


def results_html(results: Sequence[Result]) -> str:
    return _html_table(
        [head for head, _ in RESULT_COLUMNS],
        [[html.escape(cell(r)) for _, cell in RESULT_COLUMNS] for r in results],
    )


def results_frame(results: Sequence[Result]) -> Any:
    import pandas as pd

    hidden = {"curves", "machine", "versions", "missing_reasons"}
    return pd.DataFrame([{k: v for k, v in vars(r).items() if k not in hidden} for r in results])
