"""The sections of a report that look behind the table, class by class and image by image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from harness.comparison.disagreement import (
    ClassDelta,
    class_deltas,
    confident_mistakes,
    confusions,
    contingency,
)
from harness.render.charts import bars
from harness.render.html import chip, escape, folded, side_by_side
from harness.render.table import Table
from harness.report.evidence import Evidence
from harness.report.galleries import (
    Pictures,
    gallery,
    legend,
    likely_classes,
    neighbor_strips,
)

if TYPE_CHECKING:
    from harness.report.neighbors import Neighbors

BARS = 24  # classes in a chart: all of them, or those at both ends
OPEN_CLASSES = 30  # a longer table of classes is folded
PAIRS = 10  # confusions per row
MISTAKES = 12  # per row
PICTURES = 60  # in each cell, over all pairs of rows
PICTURES_PER_PAIR = 18
FIGURE_4 = "Figure 4 of Krizhevsky et al. 2012"


def differences(evidence: Evidence) -> list[tuple[str, str, Markup]]:
    """Return the id, the heading and the content of each section."""
    pictures = Pictures(
        evidence.test,
        evidence.class_names,
        list(zip(evidence.labels, evidence.predictions, strict=True)),
    )
    return [
        ("images", "Image by image", _images(evidence, pictures)),
        ("classes", "Class by class", _classes(evidence)),
        ("confusions", "Confusions", _confusions(evidence)),
        ("mistakes", "The most confident mistakes", _mistakes(evidence, pictures)),
        ("likely", "The five likeliest classes", _likely(evidence, pictures)),
        ("neighbors", "Nearest neighbors", _neighbors(evidence, pictures)),
    ]


def _compared_rows(evidence: Evidence) -> range:
    """Return the rows that are compared with the first."""
    return range(1, len(evidence.runs))


def _images(evidence: Evidence, pictures: Pictures) -> Markup:
    parts = [_no_pictures(evidence), _one_seed_note(evidence)]
    for row in _compared_rows(evidence):
        parts.append(_image_pair(evidence, pictures, row))
    return Markup("\n".join(filter(None, parts)))


def _image_pair(evidence: Evidence, pictures: Pictures, row: int) -> str:
    """Return the paired table of a row and the reference, and pictures of each of its cells."""
    a, b = evidence.labels[0], evidence.labels[row]
    cells = contingency(evidence.predictions[0], evidence.predictions[row])
    several = len(_compared_rows(evidence)) > 1
    counts = [len(cell) for cell in (cells.both, cells.only_a, cells.only_b, cells.neither)]
    parts = [f"<h3>{escape(b)} against {escape(a)}</h3>"] if several else []
    parts.append(_paired_table(a, b, counts))
    if pictures.split is None:
        return "\n".join(parts)
    parts.append(legend(pictures, [0, row]))
    most = max(3, min(PICTURES_PER_PAIR, PICTURES // len(_compared_rows(evidence))))
    level = "h4" if several else "h3"
    for heading, cell, shown in (
        (f"Only {b} is right", cells.only_b, most),
        (f"Only {a} is right", cells.only_a, most),
        ("Both are wrong", cells.neither, most),
        ("Both are right", cells.both, min(6, most)),
    ):
        count = _cell_count(cell, shown)
        parts.append(f'<{level}>{escape(heading)} <span class="faint">({count})</span></{level}>')
        if len(cell):
            parts.append(gallery(pictures, cell[:shown].tolist(), [0, row]))
    return "\n".join(parts)


def _cell_count(cell: np.ndarray, shown: int) -> str:
    count = f"{len(cell):,} image{'' if len(cell) == 1 else 's'}"
    if len(cell) <= shown:
        return count
    return f"{count}; the first {shown} by key, which is as good as a random sample"


def _paired_table(a: str, b: str, counts: Sequence[int]) -> str:
    a, b = escape(a), escape(b)
    both, only_a, only_b, neither = (
        f"<td><b>{count:,}</b>{100 * count / sum(counts):.1f} %</td>" for count in counts
    )
    return (
        '<div class="wide"><table class="paired">'
        "<caption>Test images by who is right</caption>"
        f"<thead><tr><td class=empty></td><th scope=col>{b} right</th>"
        f"<th scope=col>{b} wrong</th></tr></thead><tbody>"
        f"<tr><th scope=row>{a} right</th>{both}{only_a}</tr>"
        f"<tr><th scope=row>{a} wrong</th>{only_b}{neither}</tr></tbody></table></div>"
    )


def _classes(evidence: Evidence) -> Markup:
    parts = [_class_pair(evidence, row) for row in _compared_rows(evidence)]
    parts.append(
        "<p class=faint>Paired bootstrap intervals, each for its class alone: one in twenty "
        "excludes 0 by chance, and for few test images they are rough.</p>"
    )
    return Markup("\n".join(parts))


def _class_pair(evidence: Evidence, row: int) -> str:
    """Return the errors by class of a row and the reference, as a chart and a table."""
    a, b, names = evidence.labels[0], evidence.labels[row], evidence.class_names
    deltas = class_deltas(evidence.predictions[0], evidence.predictions[row])
    ends = deltas if len(deltas) <= BARS else [*deltas[: BARS // 2], *deltas[-BARS // 2 :]]
    chart: str = bars(
        f"{b} minus {a}: top-1 error by class",
        [(names[delta.label], delta.delta) for delta in ends],
        x="points of top-1 error; to the left, fewer",
    )
    if len(ends) < len(deltas):
        note = f"The {BARS // 2} classes at each end, of {len(deltas):,}."
        chart = f"{chart}<p class=faint>{note}</p>"
    listed: str = Table(
        ["class", "test images", a, b, "delta", "95 % interval"],
        [[names[delta.label], *_class_cells(delta)] for delta in deltas],
        caption=f"Top-1 error by class, {a} and {b}",
    ).to_html()
    if len(deltas) > OPEN_CLASSES:
        listed = folded(f"All {len(deltas):,} classes", listed)
    return side_by_side(chart, listed)


def _class_cells(delta: ClassDelta) -> list[str]:
    return [
        f"{delta.n:,}",
        f"{delta.a_error:.1f} %",
        f"{delta.b_error:.1f} %",
        f"{delta.delta:+.1f}" if delta.delta else "0",
        f"[{delta.interval.low:.1f}, {delta.interval.high:.1f}]",
    ]


def _confusions(evidence: Evidence) -> Markup:
    names, parts = evidence.class_names, []
    by_row = [confusions(run) for run in evidence.predictions]
    counts = [{(pair.label, pair.predicted): pair.count for pair in pairs} for pairs in by_row]
    for row, (label, pairs) in enumerate(zip(evidence.labels, by_row, strict=True)):
        others = [i for i in range(len(by_row)) if i != row]
        table = Table(
            ["class → taken for", label, *(evidence.labels[i] for i in others)],
            [
                [
                    f"{names[pair.label]} → {names[pair.predicted]}",
                    f"{pair.count:,} of {pair.n:,}",
                    *(f"{counts[i].get((pair.label, pair.predicted), 0):,}" for i in others),
                ]
                for pair in pairs[:PAIRS]
            ],
            caption=f"Most frequent confusions of {label}",
        )
        content = table.to_html() if pairs else "<p>No image is taken for another class.</p>"
        parts.append(f"<h3>{chip(row)}{escape(label)}</h3>{content}")
    return side_by_side(*parts)


def _mistakes(evidence: Evidence, pictures: Pictures) -> Markup:
    if pictures.split is None:
        return Markup(_no_pictures(evidence))
    parts = [
        "<p>The wrong predictions with the highest probability. It is often the label that is "
        "wrong, not the prediction.</p>"
    ]
    for row, label in enumerate(evidence.labels):
        chosen = confident_mistakes(evidence.predictions[row], MISTAKES)
        parts.append(f"<h3>{chip(row)}{escape(label)}</h3>")
        others = [1 - row] if len(evidence.labels) == 2 else []
        if len(chosen):
            rows = [row, *others]
            parts.append(gallery(pictures, chosen.tolist(), rows, with_probability=True))
        else:
            parts.append("<p>None.</p>")
    return Markup("\n".join([*parts, _probability_notes(evidence)]))


def _likely(evidence: Evidence, pictures: Pictures) -> Markup:
    first, last = escape(evidence.labels[0]), escape(evidence.labels[-1])
    introduction = (
        f"<p>As in {FIGURE_4}: the first images by key of each cell of the paired table "
        f"of {first} and {last}. The right class is marked.</p>"
    )
    cards = likely_classes(pictures, evidence.shown)
    return Markup("\n".join([introduction, cards, _probability_notes(evidence)]))


def _neighbors(evidence: Evidence, pictures: Pictures) -> Markup:
    parts: list[str] = []
    missing: dict[str, list[str]] = {}  # reason -> rows
    for row, (label, result) in enumerate(zip(evidence.labels, evidence.neighbors, strict=True)):
        if isinstance(result, str):
            missing.setdefault(result, []).append(label)
            continue
        assert evidence.test
        assert evidence.train
        parts.append(f"<h3>{chip(row)}{escape(label)}</h3>")
        parts.append(_neighbor_introduction(result, len(evidence.train)))
        parts.append(neighbor_strips(pictures, evidence.test, evidence.train, result))
    if missing:
        reasons = " ".join(
            f"Not shown for {', '.join(labels)}: {reason}." for reason, labels in missing.items()
        )
        parts.append(f"<p class=faint>{escape(reasons)}</p>")
    return Markup("\n".join(parts))


def _neighbor_introduction(result: Neighbors, n_train: int) -> str:
    searched = f"{n_train:,} training images"
    if result.searched != n_train:
        searched = f"{result.searched:,} of {searched}"
    return (
        f"<p>Left: a test image. Right: the nearest among {searched}, by Euclidean distance in the "
        f"last hidden layer, as in {FIGURE_4}.</p>"
    )


def _no_pictures(evidence: Evidence) -> str:
    if not evidence.no_pictures:
        return ""
    return f"<p class=faint>Without pictures: {escape(evidence.no_pictures)}.</p>"


def _one_seed_note(evidence: Evidence) -> str:
    if all(len(group) == 1 for group in evidence.groups):
        return ""
    runs = ", ".join(f"{record.run_id} (seed {record.result.seed})" for record in evidence.runs)
    return f"<p class=faint>The sections below show one run per row: {escape(runs)}.</p>"


def _probability_notes(evidence: Evidence) -> str:
    """Return what the probabilities are, rows with the same meaning together."""
    together: dict[str, list[str]] = {}
    for label, run in zip(evidence.labels, evidence.predictions, strict=True):
        together.setdefault(run.meaning, []).append(label)
    notes = "; ".join(f"{', '.join(labels)}: {meaning}" for meaning, labels in together.items())
    return f"<p class=faint>{escape(notes)}.</p>"
