"""Where they differ: the sections of a report that look behind the table, class by class and image by image."""

from __future__ import annotations

from collections.abc import Sequence

from harness.comparison.disagreement import (
    ClassDelta,
    cells,
    class_deltas,
    confident_mistakes,
    confusions,
)
from harness.render.charts import bars
from harness.render.html import Html, beside, chip, escaped, folded, table
from harness.report.evidence import Evidence
from harness.report.galleries import Pictures, gallery, legend, likely, neighbors_of

BARS = 24  # classes that the chart shows: all, or those at both ends
LISTED = 30  # classes of a table that is open without a click
PAIRS = 10  # of confusions, a row
MISTAKES = 12  # a row
SHOWN = 60  # pictures of each cell over all pairs, of which a pair has at most AT_MOST
AT_MOST = 18
FIGURE_4 = "Figure 4 of Krizhevsky et al. 2012"


def differences(evidence: Evidence) -> list[tuple[str, str, Html]]:
    """(id, heading, content) of each section."""
    pictures = Pictures(
        evidence.test,
        evidence.class_names,
        list(zip(evidence.labels, evidence.answers, strict=True)),
    )
    return [
        ("images", "Image by image", _images(evidence, pictures)),
        ("classes", "Class by class", _classes(evidence)),
        ("confusions", "What is taken for what", _confusions(evidence)),
        ("mistakes", "The most confident mistakes", _mistakes(evidence, pictures)),
        ("likely", "The five likeliest classes", _likely(evidence, pictures)),
        ("neighbors", "Nearest neighbors", _neighbors(evidence, pictures)),
    ]


def _pairs(evidence: Evidence) -> range:
    """The rows that are held against the first."""
    return range(1, len(evidence.runs))


def _images(evidence: Evidence, pictures: Pictures) -> Html:
    parts = [_no_pictures(evidence), _of_one_seed(evidence)]
    most = max(3, min(AT_MOST, SHOWN // len(_pairs(evidence))))
    a = evidence.labels[0]
    for row in _pairs(evidence):
        b, found = evidence.labels[row], cells(evidence.answers[0], evidence.answers[row])
        if len(_pairs(evidence)) > 1:
            parts.append(f"<h3>{escaped(b)} against {escaped(a)}</h3>")
        parts.append(
            _paired_table(
                a,
                b,
                [len(cell) for cell in (found.both, found.only_a, found.only_b, found.neither)],
            )
        )
        if pictures.split is None:
            continue
        parts.append(legend(pictures, [0, row]))
        level = "h4" if len(_pairs(evidence)) > 1 else "h3"
        for heading, cell, shown in (
            (f"Only {b} is right", found.only_b, most),
            (f"Only {a} is right", found.only_a, most),
            ("Both are wrong", found.neither, most),
            ("Both are right", found.both, min(6, most)),
        ):
            chosen = cell[:shown]
            count = f"{len(cell):,} image{'' if len(cell) == 1 else 's'}"
            some = (
                f"; the first {len(chosen)} by key, which is as good as drawn at random"
                if len(chosen) < len(cell)
                else ""
            )
            parts.append(
                f'<{level}>{escaped(heading)} <span class="faint">({count}{some})</span></{level}>'
            )
            parts.append(gallery(pictures, chosen.tolist(), [0, row]) if len(chosen) else "")
    return Html("\n".join(filter(None, parts)))


def _paired_table(a: str, b: str, counts: Sequence[int]) -> Html:
    both, only_a, only_b, neither = (
        f"<b>{count:,}</b>{100 * count / sum(counts):.1f} %" for count in counts
    )
    return Html(
        f'<div class="wide"><table class="paired"><caption>Test images by who is right</caption>'
        f"<thead><tr><td class=empty></td><th scope=col>{escaped(b)} right</th><th scope=col>{escaped(b)} wrong</th></tr></thead><tbody>"
        f"<tr><th scope=row>{escaped(a)} right</th><td>{both}</td><td>{only_a}</td></tr>"
        f"<tr><th scope=row>{escaped(a)} wrong</th><td>{only_b}</td><td>{neither}</td></tr></tbody></table></div>"
    )


def _classes(evidence: Evidence) -> Html:
    parts: list[str] = []
    a = evidence.labels[0]
    for row in _pairs(evidence):
        b, deltas = evidence.labels[row], class_deltas(evidence.answers[0], evidence.answers[row])
        title = f"{b} minus {a}: top-1 error by class"
        values = [(evidence.class_names[each.label], each.delta) for each in _at_the_ends(deltas)]
        chart = bars(title, values, x="points of top-1 error; to the left, fewer")
        if len(deltas) > BARS:
            chart = Html(
                f"{chart}<p class=faint>The {BARS // 2} classes at each end, of {len(deltas):,}.</p>"
            )
        told = table(
            ["class", "test images", a, b, "delta", "95 % interval"],
            [
                [
                    evidence.class_names[each.label],
                    f"{each.n:,}",
                    f"{each.a_error:.1f} %",
                    f"{each.b_error:.1f} %",
                    f"{each.delta:+.1f}" if each.delta else "0",
                    f"[{each.low:.1f}, {each.high:.1f}]",
                ]
                for each in deltas
            ],
            caption=f"Top-1 error by class, {a} and {b}",
            numbers=range(1, 6),
        )
        parts.append(
            beside(
                chart,
                told if len(deltas) <= LISTED else folded(f"All {len(deltas):,} classes", told),
            )
        )
    parts.append(
        "<p class=faint>Paired bootstrap intervals, each for its class alone: one in twenty excludes 0 by chance, and of few test images "
        "they are rough.</p>"
    )
    return Html("\n".join(parts))


def _at_the_ends(deltas: Sequence[ClassDelta]) -> Sequence[ClassDelta]:
    return deltas if len(deltas) <= BARS else [*deltas[: BARS // 2], *deltas[-BARS // 2 :]]


def _confusions(evidence: Evidence) -> Html:
    names, parts = evidence.class_names, []
    found = [confusions(given) for given in evidence.answers]
    counts = [{(each.label, each.predicted): each.count for each in row} for row in found]
    for place, (label, row) in enumerate(zip(evidence.labels, found, strict=True)):
        others = [i for i in range(len(found)) if i != place]
        rows = [
            [
                f"{names[each.label]} → {names[each.predicted]}",
                f"{each.count:,} of {each.n:,}",
                *(f"{counts[i].get((each.label, each.predicted), 0):,}" for i in others),
            ]
            for each in row[:PAIRS]
        ]
        head = ["class → taken for", label, *(evidence.labels[i] for i in others)]
        heading = f"<h3>{chip(place)}{escaped(label)}</h3>"
        listed = table(
            head, rows, caption=f"Most frequent confusions of {label}", numbers=range(1, len(head))
        )
        parts.append(
            f"{heading}{listed if rows else '<p>It takes no image for another class.</p>'}"
        )
    return beside(*parts)


def _mistakes(evidence: Evidence, pictures: Pictures) -> Html:
    if pictures.split is None:
        return Html(_no_pictures(evidence))
    parts = [
        "<p>The wrong answers that were given with the highest probability: often the label, not the answer, is what to look at.</p>"
    ]
    for row, label in enumerate(evidence.labels):
        chosen = confident_mistakes(evidence.answers[row], MISTAKES)
        parts.append(f"<h3>{chip(row)}{escaped(label)}</h3>")
        others = (
            [i for i in range(len(evidence.labels)) if i != row][:1]
            if len(evidence.labels) == 2
            else []
        )
        parts.append(
            gallery(pictures, chosen.tolist(), [row, *others], chance=True)
            if len(chosen)
            else "<p>It makes none.</p>"
        )
    return Html("\n".join([*parts, _meanings(evidence)]))


def _likely(evidence: Evidence, pictures: Pictures) -> Html:
    which = (
        f"<p>As in {FIGURE_4}: the first images by key of each cell of the paired table "
        f"of {escaped(evidence.labels[0])} and {escaped(evidence.labels[-1])}. The right class is marked.</p>"
    )
    return Html("\n".join([which, likely(pictures, evidence.shown), _meanings(evidence)]))


def _neighbors(evidence: Evidence, pictures: Pictures) -> Html:
    parts: list[str] = []
    missing: dict[str, list[str]] = {}  # reason -> rows
    for row, (label, found) in enumerate(zip(evidence.labels, evidence.neighbors, strict=True)):
        if isinstance(found, str):
            missing.setdefault(found, []).append(label)
            continue
        assert evidence.test
        assert evidence.train
        of = "all" if found.searched == len(evidence.train) else f"{found.searched:,}"
        parts.append(
            f"<h3>{chip(row)}{escaped(label)}</h3>"
            f"<p>Left, a test image; right of it, of {of} {'' if of == 'all' else f'of {len(evidence.train):,} '}training images those at the "
            f"least Euclidean distance in the last hidden layer, as in {FIGURE_4}.</p>"
        )
        parts.append(neighbors_of(pictures, evidence.test, evidence.train, found))
    if missing:
        reasons = " ".join(
            f"Not shown for {', '.join(labels)}: {reason}." for reason, labels in missing.items()
        )
        parts.append(f"<p class=faint>{escaped(reasons)}</p>")
    return Html("\n".join(parts))


def _no_pictures(evidence: Evidence) -> str:
    return (
        f"<p class=faint>Without pictures: {escaped(evidence.no_pictures)}.</p>"
        if evidence.no_pictures
        else ""
    )


def _of_one_seed(evidence: Evidence) -> str:
    if all(len(group) == 1 for group in evidence.groups):
        return ""
    runs = ", ".join(f"{record.run_id} (seed {record.result.seed})" for record in evidence.runs)
    return f"<p class=faint>From here on of one run a row: {escaped(runs)}.</p>"


def _meanings(evidence: Evidence) -> str:
    """What the probabilities are, the rows that mean the same by them together."""
    together: dict[str, list[str]] = {}
    for label, given in zip(evidence.labels, evidence.answers, strict=True):
        together.setdefault(given.meaning, []).append(label)
    return (
        "<p class=faint>"
        + escaped(
            "; ".join(f"{', '.join(labels)}: {meaning}" for meaning, labels in together.items())
        )
        + ".</p>"
    )
