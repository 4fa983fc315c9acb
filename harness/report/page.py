"""The page of `harness report`: the before/after table and what stands behind it, in one HTML file that is whole in itself."""

from __future__ import annotations

import html
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import chain

from harness.commands import as_flags
from harness.comparison.table import (
    ONE_VIEW,
    Comparison,
    Row,
    augmentation,
    averages,
    columns,
    cost_notes,
    cost_table,
    footnotes,
)
from harness.render.charts import Curve, Dot, curves, frontier, intervals
from harness.render.html import (
    Html,
    beside,
    bullets,
    chip,
    document,
    escaped,
    folded,
    sentence,
    table,
)
from harness.report.differences import differences
from harness.report.evidence import Evidence
from harness.report.literature import published_html
from harness.report.verdict import outcome, verdicts
from harness.runs.record import Record
from harness.runs.result import Result

SECONDS = tuple(
    (number * unit, f"{number} {name}")
    for name, unit, numbers in (("s", 1, (1, 2, 5, 10, 30)), ("min", 60, (1, 2, 5, 10, 30)), ("h", 3600, (1, 2, 5, 10)), ("days", 86400, (1, 2, 5, 10, 30)))
    for number in numbers
)  # fmt: skip
TRAIN, TUNE = "train/top1_error", "val/top1_error"


def report_page(evidence: Evidence) -> str:
    """The page. Its sections have ids, so that a link can point at one."""
    comparison = evidence.comparison
    first, *others = evidence.labels
    title = (
        f"{others[0]} against {first}"
        if len(others) == 1
        else f"{', '.join(others)} against {first}"
    )
    title += f" on {comparison.title}"
    sections = [
        ("result", "The result", _result(evidence)),
        ("cost", "What it costs", _cost(evidence)),
        ("curves", "Error by epoch", _curves(evidence)),
        *differences(evidence),
        ("published", "Published figures beside ours", published_html(evidence.published)),
        ("protocol", "Protocol and warnings", _protocol(evidence)),
        ("reproduce", "Do it again", _reproduce(evidence)),
    ]
    links = "\n".join(
        f'<li><a href="#{name}">{escaped(heading)}</a></li>' for name, heading, _ in sections
    )
    parts = "\n".join(
        f'<section id="{name}" aria-labelledby="{name}-heading">\n<h2 id="{name}-heading">{escaped(heading)}</h2>\n{content}\n</section>'
        for name, heading, content in sections
    )
    body = f"""<header>
<h1>{escaped(title)}</h1>
<p class="faint">{comparison.n_test:,} test images in {len(evidence.class_names):,} classes, digest <code>{comparison.test_digest}</code></p>
<nav aria-label="Sections"><ul>
{links}
</ul></nav>
</header>
<main id="main" tabindex="-1">
{parts}
</main>
<footer><p class="faint">Written by harness report, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, from the scores that the runs kept.</p></footer>"""
    return document(title, body)


def _result(evidence: Evidence) -> Html:
    comparison = evidence.comparison
    said = [
        f'<p class="verdict {outcome(row)}">{escaped(sentence)}</p>'
        for row, sentence in zip(comparison.rows[1:], verdicts(comparison), strict=True)
    ]
    dots = [
        Dot(label, place, 0, row.top1_error, row.top1_error_ci_low, row.top1_error_ci_high)
        for place, (label, row) in enumerate(zip(evidence.labels, comparison.rows, strict=True))
    ]
    chart = intervals("Top-1 error with its 95 % interval", dots, x="top-1 error, %")
    parts = [*said, _rows(comparison, "Before and after"), beside(chart, _row_notes(comparison))]
    if comparison.one_view:
        single = comparison.one_view
        parts += [
            f"<h3>{ONE_VIEW[0].upper()}{ONE_VIEW[1:]}</h3>",
            _rows(single, ONE_VIEW),
            _row_notes(single),
        ]
    return Html("\n".join(parts))


def _row_notes(comparison: Comparison) -> Html:
    notes = [f"{row.label}: {'; '.join(row.notes)}" for row in comparison.rows if row.notes]
    return bullets(notes) if notes else Html("")


def _rows(comparison: Comparison, caption: str) -> Html:
    """The table that `harness compare` prints."""
    (name, _), *others = columns(comparison)
    rows = [
        [Html(f"{chip(place)}{escaped(row.label)}"), *(cell(row) for _, cell in others)]
        for place, row in enumerate(comparison.rows)
    ]
    heads = [name, *(head for head, _ in others)]
    return table(heads, rows, caption=caption, numbers=range(1, len(heads) - 2))


def _cost(evidence: Evidence) -> Html:
    rows = evidence.comparison.rows
    dots = [
        Dot(
            label,
            place,
            max(row.fit_seconds, 0.1),
            row.top1_error,
            row.top1_error_ci_low,
            row.top1_error_ci_high,
            bool(row.on_frontier),
        )
        for place, (label, row) in enumerate(zip(evidence.labels, rows, strict=True))
    ]
    chart = frontier(
        "Error against the time to fit",
        dots,
        x="seconds to fit, log scale",
        y="top-1 error, %",
        x_ticks=SECONDS,
    )
    head, cells = cost_table(rows)
    listed = table(
        ["pipeline", *head[1:]], cells, caption="Cost of each row", numbers=range(1, len(head) - 1)
    )
    return Html(f"{beside(chart, _small(cost_notes(rows)))}\n{listed}")


def _curves(evidence: Evidence) -> Html:
    learning: list[Curve] = []
    fitted: list[Curve] = []  # lines across: what has no epochs
    for place, (label, result) in enumerate(
        zip(evidence.labels, (run.result for run in evidence.runs), strict=True)
    ):
        tune = f"{label} on tune ({result.n_tune:,} images)"
        if TRAIN in result.curves:
            learning += [
                Curve(tune, place, _by_epoch(result, TUNE)),
                Curve(f"{label} on train as augmented", place, _by_epoch(result, TRAIN), "dotted"),
            ]
        elif result.tune_top1_error is not None:
            fitted.append(
                Curve(f"{tune}, when fitted", place, [(1, result.tune_top1_error)], "dashed")
            )
    learning = [curve for curve in learning if len(curve.points) > 1]
    if not learning:
        return Html("<p>None of these runs learned by epoch.</p>")
    series = [*learning, *fitted]
    chart = curves("Top-1 error by epoch", series, x="epoch", y="top-1 error, %")
    known = [dict(curve.points) for curve in learning]
    epochs = sorted({int(epoch) for points in known for epoch in points})
    rows = [
        [str(epoch), *(f"{points[epoch]:.2f}" if epoch in points else "" for points in known)]
        for epoch in epochs
    ]
    listed = table(
        ["epoch", *(curve.label for curve in learning)],
        rows,
        caption="Top-1 error by epoch, %",
        numbers=range(1, len(known) + 1),
    )
    lines = (
        bullets([f"{curve.label}: {curve.points[0][1]:.2f} %" for curve in fitted])
        if fitted
        else ""
    )
    return Html(f"{chart}\n{folded('The numbers', f'{listed}{lines}')}")


def _by_epoch(result: Result, name: str) -> list[tuple[float, float]]:
    return [(step + 1, value) for step, value in result.curves.get(name, [])]


def _protocol(evidence: Evidence) -> Html:
    facts: dict[str, Callable[[Row], str]] = {
        "family": lambda row: row.family,
        "labeled images fitted on": lambda row: f"{row.n_fit:,} of {row.n_labeled:,}",
        "training images varied by": lambda row: augmentation(row.augmentation),
        "views x models averaged": lambda row: averages(row.views, row.models),
        "looks at this test split": lambda row: str(row.test_evaluations),
        "seeds": lambda row: ", ".join(map(str, row.seeds)),
        "notes": lambda row: "; ".join(row.notes) or "-",
    }
    rows = [
        [name, *(fact(row) for row in evidence.comparison.rows)] for name, fact in facts.items()
    ]
    return Html(
        f"{table(['', *evidence.labels], rows, caption='Protocol of each row')}\n{bullets(_caveats(evidence.comparison))}"
    )


def _caveats(comparison: Comparison) -> list[str]:
    """What stands below the table of compare, less what the page says elsewhere."""
    elsewhere = {*cost_notes(comparison.rows)}
    return [
        line
        for line in footnotes(comparison)
        if line not in elsewhere and not any(run in line for run in _run_ids(comparison.rows))
    ]


def _run_ids(rows: Sequence[Row]) -> list[str]:
    return [f"{run_id}: " for row in rows for run_id in row.run_ids]


def _reproduce(evidence: Evidence) -> Html:
    records = [record for group in evidence.groups for record in group]
    commands = "\n".join(
        [*dict.fromkeys(record.result.command for record in records), _report_again(evidence)]
    )
    facts = [
        [
            result.run_id,
            str(result.seed),
            result.source_hash,
            result.finished[:10],
            f"{result.machine.get('cpu', '?')}, {result.machine.get('cores', '?')} cores, {result.machine.get('device', '?')}",
            ", ".join(f"{name} {version}" for name, version in result.versions.items()),
        ]
        for result in (record.result for record in records)
    ]
    digests = [
        f"train + tune: {', '.join(dict.fromkeys(record.result.train_digest for record in records))}",
        f"test: {evidence.comparison.test_digest}",
    ]
    listed = table(
        ["run", "seed", "source", "finished", "machine", "versions"], facts, caption="The runs"
    )
    return Html(
        f"<p>Equal digests mean equal images, labels and preparation; the source is a hash of the pipeline's files.</p>\n{bullets(digests)}\n"
        f'<pre tabindex="0">{html.escape(commands)}</pre>\n{listed}'
    )


def _report_again(evidence: Evidence) -> str:
    """The command that makes this page: a row is named by its spec where that finds it, else by the ids of its runs."""
    dataset = evidence.comparison.dataset
    pipelines = Counter(group[0].result.pipeline for group in evidence.groups)
    rows = [
        [record.run_id for record in group]
        if pipelines[group[0].result.pipeline] > 1
        or not all(_found_by_spec(record, dataset) for record in group)
        else [group[0].result.pipeline]
        for group in evidence.groups
    ]
    records = [record for group in evidence.groups for record in group]
    flags = as_flags(
        dataset=None if dataset.startswith("object:") else dataset,
        plugins=list(dict.fromkeys(plugin for record in records for plugin in record.spec.plugins)),
    )
    other_train = len({record.result.train_digest for record in records}) > 1
    return (
        shlex.join(["harness", "report", *chain(*rows)])
        + flags
        + (" --allow-different-train" if other_train else "")
    )


def _found_by_spec(record: Record, dataset: str) -> bool:
    """Whether it is a whole run of a pipeline that has a name, on the dataset that has that spec."""
    result = record.result
    limited = result.limit is not None or result.limit_test is not None
    objects = result.pipeline.startswith("object:") or dataset.startswith("object:")
    return not (limited or objects or record.spec.kind == "ensemble" or result.dataset != dataset)


def _small(lines: Sequence[str]) -> str:
    return "".join(f"<p class=faint>{escaped(sentence(line))}</p>" for line in lines)
