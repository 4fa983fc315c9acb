"""Charts as inline SVG, drawn for the width of a phone and scaled up from there.

Each chart has a title and a description in words; the caller puts the numbers in a table beside it.
Colors are the classes r0 to r5 of page.css.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from markupsafe import Markup

from harness.render.html import COLORS, escape

WIDTH = 360  # units; about a pixel each on a phone
ABOVE = 16  # units above the drawing, for the name of the vertical axis
LINE = 15  # units between lines of text
TICK_DISTANCE = 44  # units, the smallest between two numbers on an axis
LETTER = 7  # units, about the width of the widest letter
_ids = count()


@dataclass(frozen=True)
class Curve:
    """A line of a chart; a curve of one point is drawn as a horizontal line.

    Parameters
    ----------
    label : str
    row : int
        Chooses the color.
    points : sequence of (x, y)
    style : {"", "dashed", "dotted"}
    """

    label: str
    row: int
    points: Sequence[tuple[float, float]]
    style: str = ""


@dataclass(frozen=True)
class Dot:
    """A point with its 95 % interval in y.

    Parameters
    ----------
    label : str
    row : int
        Chooses the color and the shape.
    x, y : float
    low, high : float
        Interval of y.
    frontier : bool
        Nothing cheaper has a lower error.
    """

    label: str
    row: int
    x: float
    y: float
    low: float
    high: float
    frontier: bool = False


@dataclass(frozen=True)
class Axis:
    """A map from values to units of the drawing: `low` is drawn at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)


Mark = tuple[float, str]
"""A value on an axis and its text."""


def color(row: int) -> str:
    """Return the class of a row's color."""
    return f"r{row % COLORS}"


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return at most `most` + 1 round numbers from `low` to `high`."""
    step = 10 ** math.floor(math.log10((high - low) / most))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def curves(title: str, series: Sequence[Curve], *, x: str, y: str) -> Markup:
    """Draw lines over `x`, which counts from 1, errors from 0 up, with a legend below."""
    points = [point for curve in series for point in curve.points if math.isfinite(point[1])]
    last = max([p[0] for curve in series if len(curve.points) > 1 for p in curve.points], default=1)
    top = max(p[1] for p in points) * 1.05 or 1
    height = 210
    across, up = Axis(1, max(last, 2), 34, WIDTH - 8), Axis(0, top, height - 30, 8)
    marks = [(tick, f"{tick:g}") for tick in ticks(across.low, across.high) if tick == int(tick)]
    parts = [*_y_axis(up, across, y), *_x_axis(across, marks, x, height)]
    parts += [_polyline(curve, across, up) for curve in series]
    for index, curve in enumerate(series):
        baseline = height + 12 + index * LINE
        parts.append(
            f'<path class="curve {curve.style} {color(curve.row)}" d="M34 {baseline - 4}h24"/>'
            f'<text x="64" y="{baseline}">{escape(curve.label)}</text>'
        )
    words = "; ".join(f"{curve.label} ends at {curve.points[-1][1]:.2f} %" for curve in series)
    total = height + LINE * len(series) + 8
    return _chart(title, f"{y} by {x}: {words}", parts, total, above=ABOVE)


def _polyline(curve: Curve, across: Axis, up: Axis) -> str:
    finite = [point for point in curve.points if math.isfinite(point[1])]
    if len(finite) == 1:
        finite = [(across.low, finite[0][1]), (across.high, finite[0][1])]
    line = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in finite)
    return f'<polyline class="curve {curve.style} {color(curve.row)}" points="{line}"/>'


def frontier(title: str, dots: Sequence[Dot], *, x: str, y: str, x_ticks: Sequence[Mark]) -> Markup:
    """Draw error (up) against cost (to the right, log scale); lower is better in both.

    A dashed line joins the dots that nothing beats in both.
    """
    height = 240
    low, high = min(dot.x for dot in dots) / 2, max(dot.x for dot in dots) * 2
    across = Axis(low, high, 34, WIDTH - 8, log=True)
    up = Axis(0, max(dot.high for dot in dots) * 1.08 or 1, height - 30, 8)
    marks = _spaced_marks(across, x_ticks)
    parts = [*_y_axis(up, across, y), *_x_axis(across, marks, x, height)]
    parts += _frontier_line([dot for dot in dots if dot.frontier], across, up)
    centers = [(across(dot.x), up(dot.y)) for dot in dots]
    places = _label_places([dot.label for dot in dots], centers)
    for dot, (cx, cy), (start, baseline) in zip(dots, centers, places, strict=True):
        whisker = f"M{cx:.1f} {up(dot.low):.1f}V{up(dot.high):.1f}"
        side = "" if start > cx else " class=end"
        parts.append(
            f'<g class="{color(dot.row)}"><path class="whisker" d="{whisker}"/>'
            f"{_marker(dot.row, cx, cy)}</g>"
            f'<text x="{start:.1f}" y="{baseline:.1f}"{side}>{escape(dot.label)}</text>'
        )
    words = "; ".join(
        f"{dot.label} {dot.y:.2f} %{', on the frontier' if dot.frontier else ''}"
        for dot in sorted(dots, key=lambda dot: dot.x)
    )
    description = f"{y} against {x}, the cheapest first: {words}"
    return _chart(title, description, parts, height, above=ABOVE)


def _spaced_marks(across: Axis, marks: Sequence[Mark]) -> list[Mark]:
    """Return the marks on the axis that do not overlap an earlier one."""
    chosen: list[Mark] = []
    for mark in marks:
        if not across.low <= mark[0] <= across.high:
            continue
        if not chosen or across(mark[0]) - across(chosen[-1][0]) >= TICK_DISTANCE:
            chosen.append(mark)
    return chosen


def _frontier_line(dots: Sequence[Dot], across: Axis, up: Axis) -> list[str]:
    if not dots:
        return []
    first, *others = sorted(dots, key=lambda dot: dot.x)
    steps = f"M{across(first.x):.1f} 8V{up(first.y):.1f}"
    steps += "".join(f"H{across(dot.x):.1f}V{up(dot.y):.1f}" for dot in others)
    return [f'<path class="frontier" d="{steps}H{across.end:.1f}"/>']


Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def _label_places(
    labels: Sequence[str], centers: Sequence[tuple[float, float]]
) -> list[tuple[float, float]]:
    """Return where the text of each label starts (or, left of its dot, ends), and its baseline.

    The first of eight places, the nearest ones first, that covers neither a dot nor an earlier
    label; if there is none, the first place.
    """
    taken: list[Box] = [(x - 6, y - 6, x + 6, y + 6) for x, y in centers]
    places = []
    for label, (x, y) in zip(labels, centers, strict=True):
        length = LETTER * len(label)
        sides = (8, -8) if x < WIDTH * 0.6 else (-8, 8)
        offsets = [
            (side, down) for near in ((-6, 15), (-20, 29)) for side in sides for down in near
        ]
        options = [(x + side, y + down) for side, down in offsets]
        boxes = [_text_box(start, baseline, length, start < x) for start, baseline in options]
        free = [_is_free(box, taken) for box in boxes]
        chosen = free.index(True) if True in free else 0
        places.append(options[chosen])
        taken.append(boxes[chosen])
    return places


def _text_box(start: float, baseline: float, length: float, to_the_left: bool) -> Box:
    if to_the_left:
        return (start - length, baseline - 11, start, baseline + 2)
    return (start, baseline - 11, start + length, baseline + 2)


def _is_free(box: Box, taken: Sequence[Box]) -> bool:
    """Whether a box is inside the drawing and overlaps none of the others."""
    inside = box[0] >= 0 and box[2] <= WIDTH
    return inside and not any(_overlap(box, other) for other in taken)


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def intervals(title: str, dots: Sequence[Dot], *, x: str) -> Markup:
    """Draw one line per row: the value and its 95 % interval along `x`."""
    low, high = min(dot.low for dot in dots), max(dot.high for dot in dots)
    margin = (high - low) * 0.08 or 1
    height = 34 * len(dots) + 34
    across = Axis(max(0, low - margin), high + margin, 8, WIDTH - 8)
    marks = [(tick, f"{tick:g}") for tick in ticks(across.low, across.high)]
    parts = _x_axis(across, marks, x, height)
    for index, dot in enumerate(dots):
        cy = 34 * index + 24
        whisker = f"M{across(dot.low):.1f} {cy}H{across(dot.high):.1f}"
        parts.append(
            f'<text x="8" y="{cy - 9}"><tspan class="strong">{escape(dot.label)}</tspan> '
            f'{dot.y:.2f} %</text><g class="{color(dot.row)}">'
            f'<path class="whisker" d="{whisker}"/>{_marker(dot.row, across(dot.y), cy)}</g>'
        )
    words = "; ".join(f"{dot.label} {dot.y:.2f} %, {dot.low:.2f} to {dot.high:.2f}" for dot in dots)
    return _chart(title, f"{x}, with 95 % intervals: {words}", parts, height)


def bars(title: str, values: Sequence[tuple[str, float]], *, x: str) -> Markup:
    """Draw horizontal bars to both sides of zero; to the left, fewer errors, is a gain."""
    low, high = min(0.0, *(v for _, v in values)), max(0.0, *(v for _, v in values))
    height = 19 * len(values) + 32
    names = [_short(label) for label, _ in values]
    start = LETTER * max(map(len, names)) + 12
    # The numbers are outside the ends of the bars and need room there.
    left, right = start + (32 if low else 4), WIDTH - (34 if high else 8)
    across = Axis(low, high if high > low else 1, left, right)
    marks = [(tick, f"{tick:+g}" if tick else "0") for tick in ticks(across.low, across.high, 5)]
    parts = _x_axis(across, marks, x, height)
    for index, (name, (_, value)) in enumerate(zip(names, values, strict=True)):
        top = 19 * index + 3
        parts.append(
            f'<text x="{start - 8:.1f}" y="{top + 11}" class="end">{escape(name)}</text>'
            f"{_bar(across, value, top)}"
        )
    parts.append(f'<path class="grid zero" d="M{across(0):.1f} 0V{height - 30}"/>')
    words = "; ".join(f"{label} {value:+.1f}" for label, value in values)
    return _chart(title, f"{x}: {words}", parts, height)


def _bar(across: Axis, value: float, top: float) -> str:
    """Return a bar from zero to a value, and the value outside its end."""
    zero, end = across(0), across(value)
    kind = "gain" if value < 0 else "loss"
    number = f"{value:+.1f}" if value else "0"
    place = f'x="{end + 4:.1f}"' if value >= 0 else f'x="{end - 4:.1f}" class=end'
    return (
        f'<rect class="{kind}" x="{min(zero, end):.1f}" y="{top}" width="{abs(end - zero):.1f}" '
        f'height="13"/><text y="{top + 11}" {place}>{number}</text>'
    )


def _marker(row: int, x: float, y: float) -> str:
    """Return the shape of a row, so that rows differ in more than their color."""
    r = 5
    top = f"M{x:.1f} {y - r - 1:.1f}"
    square = f"M{x - r:.1f} {y - r:.1f}h{2 * r}v{2 * r}h{-2 * r}z"
    triangle = f"{top}l{r + 1} {2 * r}h{-2 * r - 2}z"
    diamond = f"{top}l{r + 1} {r + 1}l{-r - 1} {r + 1}l{-r - 1} {-r - 1}z"
    shapes = (
        f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>',
        *(f'<path class="dot" d="{path}"/>' for path in (square, triangle, diamond)),
    )
    return shapes[row % len(shapes)]


def _y_axis(up: Axis, across: Axis, name: str) -> list[str]:
    """Return horizontal lines with their values, and the name of the axis above them."""
    parts = []
    for value in ticks(up.low, up.high, 5):
        y = up(value)
        parts.append(
            f'<path class="grid" d="M{across.start} {y:.1f}H{across.end}"/>'
            f'<text class="axis end" x="{across.start - 5}" y="{y + 4:.1f}">{value:g}</text>'
        )
    return [*parts, f'<text class="axis" x="0" y="-6">{escape(name)}</text>']


def _x_axis(across: Axis, marks: Sequence[Mark], name: str, height: float) -> list[str]:
    """Return vertical lines with their values, and the name of the axis below them."""
    parts = [f'<path class="grid" d="M{across.start} {height - 30}H{across.end}"/>']
    for value, text in marks:
        x = across(value)
        parts.append(
            f'<path class="grid" d="M{x:.1f} 4V{height - 26}"/>'
            f'<text class="axis middle" x="{x:.1f}" y="{height - 15}">{escape(text)}</text>'
        )
    title = f'<text class="axis end" x="{across.end}" y="{height - 1}">{escape(name)}</text>'
    return [*parts, title]


def _short(label: str, most: int = 15) -> str:
    return label if len(label) <= most else f"{label[: most - 1]}…"


def _chart(
    title: str, description: str, parts: Sequence[str], height: float, *, above: int = 0
) -> Markup:
    """Return a figure with its title above, and a description for those who do not see it.

    Parameters
    ----------
    above : int
        Units that are drawn above 0.
    """
    name = f"chart{next(_ids)}"
    box = f"0 {-above} {WIDTH} {height + above + 2}"
    drawing = "\n".join(parts)
    return Markup(
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="{box}" role="img" aria-labelledby="{name} {name}d">'
        f'<title id="{name}">{escape(title)}</title><desc id="{name}d">{escape(description)}</desc>'
        f"\n{drawing}\n</svg></figure>"
    )
