"""Charts as inline SVG, drawn for a phone's width and scaled up from there. Each has a title and a description in words;
the numbers stand in a table beside it, which is the caller's. Colors are the classes r0 to r5 of the page's style.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from harness.render.html import COLORS, Html, escaped

WIDTH = 360  # units; about a pixel each on a phone
ABOVE = 16  # units, for the name of an axis that goes up
LINE = 15  # units from one line of text to the next
APART = 44  # units between the numbers of an axis, at least
LETTER = 7  # units, the width of one at most, nearly
_ids = count()


@dataclass(frozen=True)
class Curve:
    """`row` chooses the color; `style`: "", "dashed" or "dotted". A curve of one point is a line across."""

    label: str
    row: int
    points: Sequence[tuple[float, float]]
    style: str = ""


@dataclass(frozen=True)
class Dot:
    """A point with its 95 % interval in y, and whether it lies on the frontier: nothing cheaper errs less."""

    label: str
    row: int
    x: float
    y: float
    low: float
    high: float
    frontier: bool = False


@dataclass(frozen=True)
class Axis:
    """From values to units of the drawing: `low` is drawn at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (
            (math.log10(v) for v in (self.low, self.high, value))
            if self.log
            else (self.low, self.high, value)
        )
        return self.start + (at - low) / (high - low) * (self.end - self.start)


def color(row: int) -> str:
    return f"r{row % COLORS}"


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers, at most so many and one more, from `low` to `high`."""
    step = 10 ** math.floor(math.log10((high - low) / most))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= most)
    return [
        round(i * step, 10)
        for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]


def curves(title: str, series: Sequence[Curve], *, x: str, y: str) -> Html:
    """Lines over `x`, which counts from 1, errors from 0 up; a legend below."""
    points = [point for curve in series for point in curve.points if math.isfinite(point[1])]
    last = max([p[0] for curve in series if len(curve.points) > 1 for p in curve.points], default=1)
    top = max(p[1] for p in points) * 1.05 or 1
    height = 210
    across, up = Axis(1, max(last, 2), 34, WIDTH - 8), Axis(0, top, height - 30, 8)
    parts = [
        *_y_axis(up, across, y),
        *_x_axis(
            across,
            [(t, f"{t:g}") for t in ticks(across.low, across.high) if t == int(t)],
            x,
            height,
        ),
    ]
    for curve in series:
        known = [p for p in curve.points if math.isfinite(p[1])]
        ends = [(across.low, known[0][1]), (across.high, known[0][1])] if len(known) == 1 else known
        line = " ".join(f"{across(px):.1f},{up(py):.1f}" for px, py in ends)
        parts.append(f'<polyline class="curve {curve.style} {color(curve.row)}" points="{line}"/>')
    for place, curve in enumerate(series):
        at = height + 12 + place * LINE
        parts.append(
            f'<path class="curve {curve.style} {color(curve.row)}" d="M34 {at - 4}h24"/><text x="64" y="{at}">{escaped(curve.label)}</text>'
        )
    said = "; ".join(f"{curve.label} ends at {curve.points[-1][1]:.2f} %" for curve in series)
    return _chart(title, f"{y} by {x}: {said}", parts, height + LINE * len(series) + 8, above=ABOVE)


def frontier(
    title: str, dots: Sequence[Dot], *, x: str, y: str, x_ticks: Sequence[tuple[float, str]]
) -> Html:
    """Cost to the right on a log axis, error upwards, both better the smaller; a dashed line joins what nothing beats in both."""
    low, high = min(d.x for d in dots) / 2, max(d.x for d in dots) * 2
    height = 240
    across, up = (
        Axis(low, high, 34, WIDTH - 8, log=True),
        Axis(0, max(d.high for d in dots) * 1.08 or 1, height - 30, 8),
    )
    marks: list[tuple[float, str]] = []
    for mark in x_ticks:
        if low <= mark[0] <= high and (
            not marks or across(mark[0]) - across(marks[-1][0]) >= APART
        ):
            marks.append(mark)
    parts = [*_y_axis(up, across, y), *_x_axis(across, marks, x, height)]
    best = sorted((d for d in dots if d.frontier), key=lambda d: d.x)
    if best:
        steps = f"M{across(best[0].x):.1f} 8V{up(best[0].y):.1f}"
        steps += "".join(f"H{across(d.x):.1f}V{up(d.y):.1f}" for d in best[1:])
        parts.append(f'<path class="frontier" d="{steps}H{across.end:.1f}"/>')
    centers = [(across(dot.x), up(dot.y)) for dot in dots]
    for dot, (cx, cy), (start, base) in zip(
        dots, centers, _label_places([dot.label for dot in dots], centers), strict=True
    ):
        parts.append(
            f'<g class="{color(dot.row)}"><path class="whisker" d="M{cx:.1f} {up(dot.low):.1f}V{up(dot.high):.1f}"/>'
            f'{_marker(dot.row, cx, cy)}</g><text x="{start:.1f}" y="{base:.1f}"{"" if start > cx else " class=end"}>{escaped(dot.label)}</text>'
        )
    said = "; ".join(
        f"{d.label} {d.y:.2f} %{', on the frontier' if d.frontier else ''}"
        for d in sorted(dots, key=lambda d: d.x)
    )
    return _chart(title, f"{y} against {x}, the cheapest first: {said}", parts, height, above=ABOVE)


def _label_places(
    labels: Sequence[str], centers: Sequence[tuple[float, float]]
) -> list[tuple[float, float]]:
    """Where each label's text goes, an x beside the dot (left of it: the text ends there) and a baseline: the first place of eight,
    the nearest ones first, that covers neither a dot nor an earlier label, else the first.
    """
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in centers]
    places = []
    for label, (x, y) in zip(labels, centers, strict=True):
        length = LETTER * len(label)
        sides = (8, -8) if x < WIDTH * 0.6 else (-8, 8)
        options = [
            (x + side, y + down)
            for near in ((-6, 15), (-20, 29))
            for side in sides
            for down in near
        ]
        boxes = [
            (at - length * (at < x), base - 11, at + length * (at > x), base + 2)
            for at, base in options
        ]
        inside = [box[0] >= 0 and box[2] <= WIDTH for box in boxes]
        free = [
            fits and not any(_overlap(box, other) for other in taken)
            for box, fits in zip(boxes, inside, strict=True)
        ]
        chosen = free.index(True) if True in free else 0
        places.append(options[chosen])
        taken.append(boxes[chosen])
    return places


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    """Of two boxes (left, top, right, bottom)."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def intervals(title: str, dots: Sequence[Dot], *, x: str) -> Html:
    """One line a row: the value and its 95 % interval along `x`."""
    low, high = min(d.low for d in dots), max(d.high for d in dots)
    room = (high - low) * 0.08 or 1
    height = 34 * len(dots) + 34
    across = Axis(max(0, low - room), high + room, 8, WIDTH - 8)
    parts = _x_axis(across, [(t, f"{t:g}") for t in ticks(across.low, across.high)], x, height)
    for place, dot in enumerate(dots):
        cy = 34 * place + 24
        parts.append(
            f'<text x="8" y="{cy - 9}"><tspan class="strong">{escaped(dot.label)}</tspan> {dot.y:.2f} %</text><g class="{color(dot.row)}">'
            f'<path class="whisker" d="M{across(dot.low):.1f} {cy}H{across(dot.high):.1f}"/>{_marker(dot.row, across(dot.y), cy)}</g>'
        )
    said = "; ".join(f"{d.label} {d.y:.2f} %, {d.low:.2f} to {d.high:.2f}" for d in dots)
    return _chart(title, f"{x}, with 95 % intervals: {said}", parts, height)


def bars(title: str, values: Sequence[tuple[str, float]], *, x: str) -> Html:
    """Horizontal bars to both sides of zero: to the left, fewer errors, is a gain."""
    low, high = min(0.0, *(v for _, v in values)), max(0.0, *(v for _, v in values))
    height = 19 * len(values) + 32
    names = [_short(label) for label, _ in values]
    start = LETTER * max(map(len, names)) + 12
    # Room for the numbers at the ends of the bars, which stand outside of them.
    across = Axis(
        low, high if high > low else 1, start + (32 if low else 4), WIDTH - (34 if high else 8)
    )
    zero = across(0)
    parts = _x_axis(
        across, [(t, f"{t:+g}" if t else "0") for t in ticks(across.low, across.high, 5)], x, height
    )
    for place, (name, (_, value)) in enumerate(zip(names, values, strict=True)):
        top, end = 19 * place + 3, across(value)
        number = f"{value:+.1f}" if value else "0"
        parts.append(
            f'<text x="{start - 8:.1f}" y="{top + 11}" class="end">{escaped(name)}</text>'
            f'<rect class="{"gain" if value < 0 else "loss"}" x="{min(zero, end):.1f}" y="{top}" width="{abs(end - zero):.1f}" height="13"/>'
            f'<text x="{end + (4 if value >= 0 else -4):.1f}" y="{top + 11}"{"" if value >= 0 else " class=end"}>{number}</text>'
        )
    parts.append(f'<path class="grid zero" d="M{zero:.1f} 0V{height - 30}"/>')
    said = "; ".join(f"{label} {value:+.1f}" for label, value in values)
    return _chart(title, f"{x}: {said}", parts, height)


def _marker(row: int, x: float, y: float) -> str:
    """A shape of its own for each of the first rows, so that color is not all that tells them apart."""
    r = 5
    shapes = (
        f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>',
        f'<path class="dot" d="M{x - r:.1f} {y - r:.1f}h{2 * r}v{2 * r}h{-2 * r}z"/>',
        f'<path class="dot" d="M{x:.1f} {y - r - 1:.1f}l{r + 1} {2 * r}h{-2 * r - 2}z"/>',
        f'<path class="dot" d="M{x:.1f} {y - r - 1:.1f}l{r + 1} {r + 1}l{-r - 1} {r + 1}l{-r - 1} {-r - 1}z"/>',
    )
    return shapes[row % len(shapes)]


def _y_axis(up: Axis, across: Axis, name: str) -> list[str]:
    """Lines across with their values; the name stands above, read from left to right."""
    parts = []
    for value in ticks(up.low, up.high, 5):
        at = up(value)
        parts.append(f'<path class="grid" d="M{across.start} {at:.1f}H{across.end}"/>')
        parts.append(
            f'<text class="axis end" x="{across.start - 5}" y="{at + 4:.1f}">{value:g}</text>'
        )
    return [*parts, f'<text class="axis" x="0" y="-6">{escaped(name)}</text>']


def _x_axis(
    across: Axis, marks: Sequence[tuple[float, str]], name: str, height: float
) -> list[str]:
    parts = [f'<path class="grid" d="M{across.start} {height - 30}H{across.end}"/>']
    for value, text in marks:
        parts.append(f'<path class="grid" d="M{across(value):.1f} 4V{height - 26}"/>')
        parts.append(
            f'<text class="axis middle" x="{across(value):.1f}" y="{height - 15}">{escaped(text)}</text>'
        )
    return [
        *parts,
        f'<text class="axis end" x="{across.end}" y="{height - 1}">{escaped(name)}</text>',
    ]


def _short(label: str, most: int = 15) -> str:
    return label if len(label) <= most else f"{label[: most - 1]}…"


def _chart(
    title: str, description: str, parts: Sequence[str], height: float, *, above: int = 0
) -> Html:
    """A figure: its title in words above, and within the drawing for who does not see it. `above`: units drawn over 0."""
    name = f"chart{next(_ids)}"
    return Html(
        f'<figure class="chart"><figcaption>{escaped(title)}</figcaption><svg viewBox="0 {-above} {WIDTH} {height + above + 2}" role="img" '
        f'aria-labelledby="{name} {name}d"><title id="{name}">{escaped(title)}</title><desc id="{name}d">{escaped(description)}</desc>\n'
        + "\n".join(parts)
        + "\n</svg></figure>"
    )
