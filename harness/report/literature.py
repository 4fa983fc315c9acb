"""Published figures below a comparison, as text and Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

from harness.comparison.literature import BeforeAfter, Beside, PublishedComparison
from harness.comparison.published import METRIC_NAMES, METRICS, Metric
from harness.comparison.table import augmentation, averages
from harness.render.html import Html, bullets, escaped, folded, sentence, table
from harness.render.table import WIDTH, markdown
from harness.render.text import text_table

MARKS = (
    "accuracies are shown as errors; sure: S read in the source, S2 quoted by another text, M well known but not read again, D doubtful, "
    "calc computed; delta: our error minus theirs, in points; ?: the source does not say"
)
SPLITS = {"val": "validation", "test": "test", "own": "own"}


def _figure(error: float) -> str:
    """In percent with the source's decimals, of which two are always shown."""
    text = f"{error:.3f}"
    return text.removesuffix("0")


def _error(line: Beside, metric: Metric) -> str:
    ends = line.figure.error(metric)
    if ends is None:
        return ""
    low, high = ends
    spread = f" ± {line.figure.spread:.2f}" if line.figure.spread is not None else ""
    return (_figure(low) if low == high else f"{_figure(low)}-{_figure(high)}") + f" %{spread}"


def _delta(line: Beside, metric: Metric) -> str:
    return f"{line.deltas[metric]:+.2f}" if metric in line.deltas else ""


COLUMNS: tuple[tuple[str, Callable[[Beside], str]], ...] = (
    ("published", lambda line: line.figure.method),
    ("sure", lambda line: line.figure.mark),
    ("split", lambda line: SPLITS[line.figure.split]),
    *((f"{METRIC_NAMES[m]} error", lambda line, m=m: _error(line, m)) for m in METRICS),
    ("train a class", lambda line: str(line.figure.train_per_class or "")),
    ("views x models", lambda line: averages(line.figure.views, line.figure.models)),
    ("augmentation", lambda line: augmentation(line.figure.augmentation)),
    ("ours", lambda line: line.row.label if line.row else ""),
    *((f"delta {METRIC_NAMES[m]}", lambda line, m=m: _delta(line, m)) for m in METRICS),
)


def _table(lines: Sequence[Beside]) -> tuple[list[str], list[list[str]]]:
    """Head and rows, without the columns in which nothing stands."""
    cells = [[cell(line) for _, cell in COLUMNS] for line in lines]
    kept = [i for i in range(len(COLUMNS)) if any(row[i] for row in cells)]
    return [COLUMNS[i][0] for i in kept], [[row[i] or "-" for i in kept] for row in cells]


def _small_print(line: Beside) -> str:
    """Source, what else its protocol says, and how ours differs."""
    figure = line.figure
    interval = (
        f"{figure.confidence:g} % interval [{figure.interval[0]:.2f}, {figure.interval[1]:.2f}]"
        if figure.interval
        else ""
    )
    extra = f"extra data: {figure.extra_data}" if figure.extra_data else ""
    mean = "mean of the classes, held against ours" if "mean_class" in line.deltas else ""
    nothing = "ours differs in nothing that is on file" if line.row else ""
    ours = "ours differs: " + "; ".join(line.differences) if line.differences else nothing
    return "; ".join(
        part for part in (figure.source, figure.protocol, mean, interval, extra, ours) if part
    )


def _head(found: PublishedComparison) -> str:
    if found.facts is None:
        return f"published: nothing on this dataset; there are figures on {', '.join(found.known)}"
    splits = {
        "val": "the official validation split",
        "test": "the test split",
        "own": "a test split of our own",
    }
    copy = f"; ours are {found.copy}" if found.copy else ""
    return f"published on {found.facts.title}; ours is {splits[found.split]}, {found.n_test:,} images{copy}"


def _told(pair: BeforeAfter) -> str:
    """One before and after: what it is, its gap, and what else differs between the two."""
    kind = f"quoted ({pair.pair.quoted})" if pair.pair.quoted else "like for like"
    (before, _), (after, _) = (
        pair.before.error(pair.pair.measure) or (0, 0),
        pair.after.error(pair.pair.measure) or (0, 0),
    )
    differs = f"; differs: {'; '.join(pair.differences)}" if pair.differences else ""
    return (
        f"{kind}: {METRIC_NAMES[pair.pair.measure]} {_figure(before)} % {pair.before.method} -> {_figure(after)} % {pair.after.method}, "
        f"{pair.title} {SPLITS[pair.after.split]}: {pair.points:.2f} points, {pair.fewer:.1f} % fewer errors{differs}"
    )


TOLD = "the before and after of 2012; like for like: one dataset and split, and no extra data"


def published_text(found: PublishedComparison) -> str:
    """What `harness compare --published` prints below its table."""
    parts = [_head(found)]
    if found.lines:
        head, rows = _table(found.lines)
        top, rule, *lines = text_table(head, rows).splitlines()
        noted = [
            f"{line}\n{_wrapped('(' + _small_print(each) + ')', '  ')}"
            for line, each in zip(lines, found.lines, strict=True)
        ]
        parts += ["", top, rule, *noted, "", _wrapped(MARKS)]
    return "\n".join([*parts, "", TOLD, *(_wrapped(_told(pair)) for pair in found.before_after)])


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def published_markdown(found: PublishedComparison) -> str:
    parts = [_head(found), ""]
    if found.lines:
        head, rows = _table(found.lines)
        told = [
            [
                f"{markdown(row[0])}<br><small>{markdown(_small_print(line))}</small>",
                *map(markdown, row[1:]),
            ]
            for row, line in zip(rows, found.lines, strict=True)
        ]
        parts += ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *told)] + [
            "",
            MARKS,
            "",
        ]
    return "\n".join([*parts, f"{TOLD}:", "", *(f"- {_told(pair)}" for pair in found.before_after)])


def published_html(found: PublishedComparison) -> Html:
    """A section of a page: the table with its small print, the yardsticks of our rows first, and the before and after of 2012."""
    parts = [f"<p>{escaped(sentence(_head(found)))}</p>"]
    held = [line for line in found.lines if line.row]
    others = [line for line in found.lines if not line.row]
    if held:
        parts.append(_html_table(held, "Published figures that ours are held against"))
    if others:
        listed = _html_table(others, "Other published figures")
        parts.append(folded(f"{len(others)} other published figures", listed) if held else listed)
    if found.lines:
        parts.append(f"<p class=faint>{escaped(sentence(MARKS))}</p>")
    told = bullets([_told(pair) for pair in found.before_after])
    return Html("\n".join([*parts, folded(sentence(TOLD), told)]))


def _html_table(lines: Sequence[Beside], caption: str) -> Html:
    head, rows = _table(lines)
    told = [
        [Html(f"{escaped(row[0])}<br><small>{escaped(_small_print(line))}</small>"), *row[1:]]
        for row, line in zip(rows, lines, strict=True)
    ]
    numbers = [
        place
        for place, name in enumerate(head)
        if "error" in name or "delta" in name or name == "train a class"
    ]
    return table(head, told, caption=caption, numbers=numbers)
