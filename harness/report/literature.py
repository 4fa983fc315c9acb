"""Published figures next to a comparison, as text, Markdown and a section of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from markupsafe import Markup

from harness.comparison.literature import (
    SPLIT_NAMES,
    BeforeAfter,
    PublishedComparison,
    PublishedRow,
)
from harness.comparison.published import METRIC_NAMES, METRICS, Metric
from harness.comparison.rows import format_augmentation, format_averaging
from harness.render.html import bullets, escape, folded, sentence
from harness.render.table import Column, Table, markdown, terminal_width, wrap

LEGEND = (
    "accuracies are shown as errors; certainty: S read in the source, S2 quoted by another text, "
    "M well known but not read again, D doubtful, calc computed; delta: our error minus theirs, in "
    "points; ?: the source does not say"
)
BEFORE_AFTER = (
    "the before and after of 2012; like for like: one dataset and split, and no extra data"
)


def _figure(error: float) -> str:
    """Return an error in percent with the decimals of the source, at least two."""
    return f"{error:.3f}".removesuffix("0")


def _error(line: PublishedRow, metric: Metric) -> str:
    ends = line.figure.error(metric)
    if ends is None:
        return ""
    low, high = ends
    text = _figure(low) if low == high else f"{_figure(low)}-{_figure(high)}"
    spread = f" ± {line.figure.spread:.2f}" if line.figure.spread is not None else ""
    return f"{text} %{spread}"


def _delta(line: PublishedRow, metric: Metric) -> str:
    return f"{line.deltas[metric]:+.2f}" if metric in line.deltas else ""


def _error_column(metric: Metric) -> tuple[Column, Callable[[PublishedRow], str]]:
    return Column(f"{METRIC_NAMES[metric]} error"), lambda line: _error(line, metric)


def _delta_column(metric: Metric) -> tuple[Column, Callable[[PublishedRow], str]]:
    return Column(f"delta {METRIC_NAMES[metric]}"), lambda line: _delta(line, metric)


COLUMNS: tuple[tuple[Column, Callable[[PublishedRow], str]], ...] = (
    (Column("published", "left"), lambda line: line.figure.method),
    (Column("certainty", "left", priority=2), lambda line: line.figure.mark),
    (Column("split", "left", priority=1), lambda line: SPLIT_NAMES[line.figure.split]),
    *map(_error_column, METRICS),
    (
        Column("train images/class", priority=3),
        lambda line: str(line.figure.train_per_class or ""),
    ),
    (
        Column("views x models", "left", priority=4),
        lambda line: format_averaging(line.figure.views, line.figure.models),
    ),
    (
        Column("augmentation", "left", priority=5),
        lambda line: format_augmentation(line.figure.augmentation),
    ),
    (Column("ours", "left"), lambda line: line.row.label if line.row else ""),
    *map(_delta_column, METRICS),
)


def _table(lines: Sequence[PublishedRow], caption: str = "") -> Table:
    """Return the figures, each with its small print, without columns that are empty throughout."""
    cells = [[cell(line) for _, cell in COLUMNS] for line in lines]
    kept = [i for i in range(len(COLUMNS)) if any(row[i] for row in cells)]
    return Table(
        [COLUMNS[i][0] for i in kept],
        [[row[i] or "-" for i in kept] for row in cells],
        caption=caption,
        row_notes=[_small_print(line) for line in lines],
    )


def _small_print(line: PublishedRow) -> str:
    """Return the source, the rest of its protocol, and how ours differs."""
    figure = line.figure
    parts = [figure.source, figure.protocol]
    if "mean_class" in line.deltas:
        parts.append("mean per-class error, compared with ours")
    if figure.interval:
        low, high = figure.interval
        parts.append(f"{figure.confidence:g} % interval [{low:.2f}, {high:.2f}]")
    if figure.extra_data:
        parts.append(f"extra data: {figure.extra_data}")
    if line.differences:
        parts.append(f"ours differs: {'; '.join(line.differences)}")
    elif line.row:
        parts.append("ours has no known difference")
    return "; ".join(filter(None, parts))


def _introduction(published: PublishedComparison) -> str:
    if published.published_set is None:
        known = ", ".join(published.known)
        return f"published: nothing on this dataset; there are figures on {known}"
    splits = {
        "val": "the official validation split",
        "test": "the test split",
        "own": "a split of our own",
    }
    copy_note = f"; {published.copy_note}" if published.copy_note else ""
    return (
        f"published on {published.published_set.title}; our {published.n_test:,} test images are "
        f"{splits[published.split]}{copy_note}"
    )


def _before_after(pair: BeforeAfter) -> str:
    """Return one before and after: what it is, its gap, and what else differs between the two."""
    metric = pair.pair.measure
    kind = f"quoted ({pair.pair.quoted})" if pair.pair.quoted else "like for like"
    before, after = pair.before.error(metric), pair.after.error(metric)
    assert before
    assert after
    differences = f"; differs: {'; '.join(pair.differences)}" if pair.differences else ""
    return (
        f"{kind}: {METRIC_NAMES[metric]} {_figure(before[0])} % {pair.before.method} -> "
        f"{_figure(after[0])} % {pair.after.method}, {pair.title} "
        f"{SPLIT_NAMES[pair.after.split]}: {pair.points:.2f} points, {pair.fewer:.1f} % fewer "
        f"errors{differences}"
    )


def published_text(published: PublishedComparison, width: int | None = None) -> str:
    """Return what `harness compare --published` prints below its table."""
    width = terminal_width() if width is None else width
    parts = [wrap(_introduction(published), width)]
    if published.rows:
        parts += [_table(published.rows).to_text(width), wrap(LEGEND, width)]
    pairs = [BEFORE_AFTER, *map(_before_after, published.before_after)]
    return "\n\n".join([*parts, "\n".join(wrap(text, width) for text in pairs)])


def published_markdown(published: PublishedComparison) -> str:
    """Return the same as Markdown."""
    parts = [markdown(_introduction(published))]
    if published.rows:
        parts += [_table(published.rows).to_markdown(), markdown(LEGEND)]
    pairs = "\n".join(f"- {markdown(_before_after(pair))}" for pair in published.before_after)
    return "\n\n".join([*parts, f"{BEFORE_AFTER}:", pairs])


def published_html(published: PublishedComparison) -> Markup:
    """Return a section of the page: the yardsticks of our rows first, the others folded."""
    parts = [f"<p>{escape(sentence(_introduction(published)))}</p>"]
    yardsticks = [line for line in published.rows if line.row]
    others = [line for line in published.rows if not line.row]
    if yardsticks:
        parts.append(_html_table(yardsticks, "Published figures for our rows"))
    if others:
        table = _html_table(others, "Other published figures")
        summary = f"{len(others)} other published figures"
        parts.append(folded(summary, table) if yardsticks else table)
    if published.rows:
        parts.append(f"<p class=faint>{escape(sentence(LEGEND))}</p>")
    pairs = bullets([_before_after(pair) for pair in published.before_after])
    return Markup("\n".join([*parts, folded(sentence(BEFORE_AFTER), pairs)]))


def _html_table(lines: Sequence[PublishedRow], caption: str) -> Markup:
    table = _table(lines, caption)
    # Method names may be long: without Markup each hyphenated word would be kept whole.
    rows = [[escape(name), *cells] for name, *cells in table.rows]
    return replace(table, rows=rows).to_html()
