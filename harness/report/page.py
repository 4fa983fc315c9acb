"""The page of `harness report`: one self-contained HTML file."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain

from markupsafe import Markup

from harness.commands import as_flags, harness_command
from harness.comparison.cost import cost_notes, cost_table
from harness.comparison.rows import Row, format_augmentation, format_averaging
from harness.comparison.table import ONE_VIEW, Comparison, all_notes, main_table
from harness.comparison.verdict import outcome
from harness.render.charts import Curve, Dot, curves, frontier, intervals
from harness.render.html import (
    bullets,
    chip,
    document,
    escape,
    folded,
    sentence,
    side_by_side,
)
from harness.render.table import Column, Table
from harness.report.differences import differences
from harness.report.evidence import Evidence
from harness.report.literature import published_html
from harness.runs.record import Record
from harness.runs.result import Result

TIME_UNITS = (
    ("s", 1, (1, 2, 5, 10, 30)),
    ("min", 60, (1, 2, 5, 10, 30)),
    ("h", 3600, (1, 2, 5, 10)),
    ("days", 86400, (1, 2, 5, 10, 30)),
)
TIME_TICKS = tuple(
    (number * seconds, f"{number} {name}")
    for name, seconds, numbers in TIME_UNITS
    for number in numbers
)
TRAIN, TUNE = "train/top1_error", "val/top1_error"

PROTOCOL: dict[str, Callable[[Row], str]] = {
    "family": lambda row: row.family,
    "labeled images fitted on": lambda row: f"{row.n_fit:,} of {row.n_labeled:,}",
    "augmentation of training images": lambda row: format_augmentation(row.augmentation),
    "views x models averaged": lambda row: format_averaging(row.views, row.models),
    "test evaluations": lambda row: str(row.test_evaluations),
    "seeds": lambda row: ", ".join(map(str, row.seeds)),
    "notes": lambda row: "; ".join(row.notes) or "-",
}


def report_page(evidence: Evidence) -> str:
    """Return the page. Its sections have ids, so that a link can point at one."""
    comparison = evidence.comparison
    first, *others = evidence.labels
    title = f"{', '.join(others)} against {first} on {comparison.title}"
    sections = [
        ("result", "The result", _result(evidence)),
        ("cost", "Cost", _cost(evidence)),
        ("curves", "Error by epoch", _curves(evidence)),
        *differences(evidence),
        ("published", "Published figures", published_html(evidence.published)),
        ("protocol", "Protocol and warnings", _protocol(evidence)),
        ("reproduce", "How to reproduce it", _reproduce(evidence)),
    ]
    links = "\n".join(
        f'<li><a href="#{name}">{escape(heading)}</a></li>' for name, heading, _ in sections
    )
    parts = "\n".join(
        f'<section id="{name}" aria-labelledby="{name}-heading">\n'
        f'<h2 id="{name}-heading">{escape(heading)}</h2>\n{content}\n</section>'
        for name, heading, content in sections
    )
    split = (
        f"{comparison.n_test:,} test images in {len(evidence.class_names):,} classes, "
        f"digest <code>{comparison.test_digest}</code>"
    )
    written = f"Written by harness report, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    body = f"""<header>
<h1>{escape(title)}</h1>
<p class="faint">{split}</p>
<nav aria-label="Sections"><ul>
{links}
</ul></nav>
</header>
<main id="main" tabindex="-1">
{parts}
</main>
<footer><p class="faint">{written}, from the scores that the runs kept.</p></footer>"""
    return document(title, body)


def _result(evidence: Evidence) -> Markup:
    comparison = evidence.comparison
    verdicts = [
        f'<p class="verdict {outcome(row)}">{escape(text)}</p>'
        for row, text in zip(comparison.rows[1:], comparison.verdicts, strict=True)
    ]
    chart = intervals("Top-1 error with its 95 % interval", _dots(evidence), x="top-1 error, %")
    table = _main_table(comparison, "Before and after")
    copies = [f"<p>{escape(sentence(comparison.copies))}</p>"] if comparison.copies else []
    parts = [*verdicts, *copies, table, side_by_side(chart, _row_notes(comparison))]
    if comparison.one_view:
        single = comparison.one_view
        parts += [
            f"<h3>{ONE_VIEW[0].upper()}{ONE_VIEW[1:]}</h3>",
            _main_table(single, ONE_VIEW),
            _row_notes(single),
        ]
    return Markup("\n".join(parts))


def _dots(evidence: Evidence) -> list[Dot]:
    """Return every row as a point: time to fit, error and interval."""
    dots = []
    for index, row in enumerate(evidence.comparison.rows):
        error = row.top1_error
        dots.append(
            Dot(
                row.label,
                index,
                x=max(row.cost.fit_seconds, 0.1),
                y=error.value,
                low=error.interval.low,
                high=error.interval.high,
                frontier=row.on_frontier,
            )
        )
    return dots


def _main_table(comparison: Comparison, caption: str) -> Markup:
    """Return the table of `harness compare`, with the color and letter of each row."""
    table = main_table(comparison, caption=caption)
    rows = [
        [Markup(f"{chip(index)}{escape(name)}"), *cells]
        for index, (name, *cells) in enumerate(table.rows)
    ]
    return replace(table, rows=rows, row_notes=()).to_html()


def _row_notes(comparison: Comparison) -> Markup:
    notes = [f"{row.label}: {'; '.join(row.notes)}" for row in comparison.rows if row.notes]
    return bullets(notes) if notes else Markup()


def _cost(evidence: Evidence) -> Markup:
    rows = evidence.comparison.rows
    chart = frontier(
        "Error against the time to fit",
        _dots(evidence),
        x="seconds to fit, log scale",
        y="top-1 error, %",
        x_ticks=TIME_TICKS,
    )
    notes = "".join(f"<p class=faint>{escape(sentence(note))}</p>" for note in cost_notes(rows))
    table = replace(cost_table(rows), caption="Cost of each row").to_html()
    return Markup(f"{side_by_side(chart, notes)}\n{table}")


def _curves(evidence: Evidence) -> Markup:
    learning: list[Curve] = []
    constant: list[Curve] = []  # tune errors of runs without epochs
    for index, (label, run) in enumerate(zip(evidence.labels, evidence.runs, strict=True)):
        result = run.result
        tune = f"{label} on tune ({result.n_tune:,} images)"
        if TRAIN in result.curves:
            train = f"{label} on train, augmented"
            learning += [
                Curve(tune, index, _by_epoch(result, TUNE)),
                Curve(train, index, _by_epoch(result, TRAIN), "dotted"),
            ]
        elif result.tune_top1_error is not None:
            points = [(1, result.tune_top1_error)]
            constant.append(Curve(f"{tune}, after fitting", index, points, "dashed"))
    learning = [curve for curve in learning if len(curve.points) > 1]
    if not learning:
        return Markup("<p>None of these runs was trained by epochs.</p>")
    chart = curves("Top-1 error by epoch", [*learning, *constant], x="epoch", y="top-1 error, %")
    return Markup(f"{chart}\n{folded('The numbers', _curve_numbers(learning, constant))}")


def _curve_numbers(learning: Sequence[Curve], constant: Sequence[Curve]) -> str:
    by_epoch = [dict(curve.points) for curve in learning]
    epochs = sorted({int(epoch) for points in by_epoch for epoch in points})
    rows = [
        [str(epoch), *(f"{points[epoch]:.2f}" if epoch in points else "" for points in by_epoch)]
        for epoch in epochs
    ]
    head = ["epoch", *(curve.label for curve in learning)]
    table = Table(head, rows, caption="Top-1 error by epoch, %").to_html()
    if not constant:
        return table
    return table + bullets([f"{curve.label}: {curve.points[0][1]:.2f} %" for curve in constant])


def _by_epoch(result: Result, name: str) -> list[tuple[float, float]]:
    return [(step + 1, value) for step, value in result.curves.get(name, [])]


def _protocol(evidence: Evidence) -> Markup:
    head = [Column(name, "left") for name in ["", *evidence.labels]]
    rows = [
        [name, *(value(row) for row in evidence.comparison.rows)]
        for name, value in PROTOCOL.items()
    ]
    table = Table(head, rows, caption="Protocol of each row").to_html()
    return Markup(f"{table}\n{bullets(_notes(evidence.comparison))}")


def _notes(comparison: Comparison) -> list[str]:
    """Return the notes of the comparison that the page does not show elsewhere."""
    elsewhere = set(cost_notes(comparison.rows))
    run_ids = [f"{run_id}: " for row in comparison.rows for run_id in row.run_ids]
    return [
        note
        for note in all_notes(comparison)
        if note not in elsewhere and not any(run_id in note for run_id in run_ids)
    ]


def _reproduce(evidence: Evidence) -> Markup:
    records = [record for group in evidence.groups for record in group]
    commands = [*dict.fromkeys(record.result.command for record in records)]
    commands.append(_report_command(evidence))
    train_digests = dict.fromkeys(record.result.train_digest for record in records)
    digests = [
        f"train + tune: {', '.join(train_digests)}",
        f"test: {evidence.comparison.test_digest}",
    ]
    names = ["run", "seed", "source", "finished", "machine", "versions"]
    table = Table(
        [Column(name, "left") for name in names],
        [_run_cells(record.result) for record in records],
        caption="The runs",
    )
    return Markup(
        "<p>Equal digests mean equal images, labels and preparation; the source is a hash of the "
        f"pipeline's files.</p>\n{bullets(digests)}\n"
        f'<pre tabindex="0">{html.escape(chr(10).join(commands))}</pre>\n{table.to_html()}'
    )


def _run_cells(result: Result) -> list[str]:
    machine = result.machine
    return [
        result.run_id,
        str(result.seed),
        result.source_hash,
        result.finished[:10],
        f"{machine.get('cpu', '?')}, {machine.get('cores', '?')} cores, "
        f"{machine.get('device', '?')}",
        ", ".join(f"{name} {version}" for name, version in result.versions.items()),
    ]


def _report_command(evidence: Evidence) -> str:
    """Return the command that makes this page again.

    A row is named by its spec where that finds it, else by the ids of its runs.
    """
    dataset = evidence.comparison.dataset
    pipelines = Counter(group[0].result.pipeline for group in evidence.groups)
    rows = []
    for group in evidence.groups:
        pipeline = group[0].result.pipeline
        unique = pipelines[pipeline] == 1
        if unique and all(_is_found_by_spec(record, dataset) for record in group):
            rows.append([pipeline])
        else:
            rows.append([record.run_id for record in group])
    records = [record for group in evidence.groups for record in group]
    plugins = dict.fromkeys(plugin for record in records for plugin in record.spec.plugins)
    named_dataset = None if records[0].spec.dataset_from_object else dataset
    flags = as_flags(dataset=named_dataset, plugins=list(plugins))
    if len({record.result.train_digest for record in records}) > 1:
        flags += " --allow-different-train"
    return harness_command("report", *chain(*rows), flags=flags)


def _is_found_by_spec(record: Record, dataset: str) -> bool:
    """Whether it is an unlimited run of a named pipeline on the dataset with this spec."""
    result, spec = record.result, record.spec
    limited = result.limit is not None or result.limit_test is not None
    has_spec = not (spec.from_object or spec.dataset_from_object or spec.kind == "ensemble")
    return has_spec and not limited and result.dataset == dataset
