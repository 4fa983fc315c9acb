"""Test images together with what each run predicts for them.

Pictures come from the test split, by key, one at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from harness.comparison.disagreement import Predictions
from harness.data.split import Split
from harness.render.charts import color
from harness.render.html import chip, escape
from harness.report.thumbnail import picture

if TYPE_CHECKING:
    from harness.report.neighbors import Neighbors

SIDE_PX = 96  # of a picture at most


@dataclass(frozen=True)
class Pictures:
    """The test images of a comparison and the predictions for them.

    Parameters
    ----------
    split : Split or None
        The test split; None where it cannot be opened any more.
    class_names : sequence of str
    rows : sequence of (str, Predictions)
        Label and predictions of each row of the table, in its order.
    """

    split: Split | None
    class_names: Sequence[str]
    rows: Sequence[tuple[str, Predictions]]

    @property
    def labels(self) -> np.ndarray:
        return self.rows[0][1].labels

    def true_class(self, position: int) -> str:
        return self.class_names[int(self.labels[position])]

    def predicted_class(self, row: int, position: int) -> str:
        """Return the class that a row takes the image for."""
        run = self.rows[row][1]
        if not run.readable[position]:
            return "nothing"
        name = self.class_names[int(run.predicted[position])]
        return f"{name}, tied with others" if run.tied[position] else name

    def alt(self, position: int) -> str:
        """Return the text for those who do not see the picture."""
        predicted = ", ".join(
            f"{label} says {self.predicted_class(row, position)}"
            for row, (label, _) in enumerate(self.rows)
        )
        return f"{self.true_class(position)}; {predicted}"

    def image(self, position: int) -> Markup:
        """Return the picture with its alt text, or a box that says why there is none."""
        if self.split is None:
            return Markup()
        index = _position(self.split, str(self.rows[0][1].keys[position]))
        if self.split.rows[index] < 0:
            return Markup('<div class="gone">cannot be decoded</div>')
        return picture(self.split, index, self.alt(position), SIDE_PX)


def gallery(
    pictures: Pictures,
    positions: Sequence[int],
    rows: Sequence[int],
    *,
    with_probability: bool = False,
) -> Markup:
    """Return one figure per image: its class, and below it what each of `rows` predicts.

    Parameters
    ----------
    pictures : Pictures
    positions, rows : sequence of int
    with_probability : bool
        Add the probability of the first row's prediction.
    """
    items = []
    for position in map(int, positions):
        lines = [f"<b>{escape(pictures.true_class(position))}</b>"]
        for index, row in enumerate(rows):
            run = pictures.rows[row][1]
            text = pictures.predicted_class(row, position)
            if with_probability and index == 0:
                text += f" {100 * run.probability[position, 0]:.1f} %"
            lines.append(f"{chip(row)}{_mark(bool(run.right[position]))} {escape(text)}")
        caption = "".join(f"<span>{line}</span>" for line in lines)
        image = pictures.image(position)
        items.append(f"<li><figure>{image}<figcaption>{caption}</figcaption></figure></li>")
    return Markup('<ul class="gallery">\n' + "\n".join(items) + "\n</ul>")


def _mark(right: bool) -> str:
    return '<b class="good">✓</b>' if right else '<b class="bad">✗</b>'


def legend(pictures: Pictures, rows: Sequence[int]) -> Markup:
    """Return what the lines below a picture are."""
    names = ", ".join(f"{chip(row)}{escape(pictures.rows[row][0])}" for row in rows)
    return Markup(
        f'<p class="faint">Below each picture is its class, then what {names} says: '
        f"{_mark(True)} right, {_mark(False)} wrong.</p>"
    )


def likely_classes(pictures: Pictures, positions: Sequence[int]) -> Markup:
    """Return each image with the five likeliest classes of every row as bars, the right one marked.

    The layout of Figure 4 of Krizhevsky et al. 2012.
    """
    cards = []
    for position in map(int, positions):
        lists = [_likely_list(pictures, row, position) for row in range(len(pictures.rows))]
        title = escape(pictures.true_class(position))
        head = f'<div class="top">{pictures.image(position)}<h3>{title}</h3></div>'
        cards.append(f'<li><div class="card">{head}{"".join(lists)}</div></li>')
    return Markup('<ul class="cards">\n' + "\n".join(cards) + "\n</ul>")


def _likely_list(pictures: Pictures, row: int, position: int) -> str:
    label, run = pictures.rows[row]
    bars = []
    for index, probability in zip(run.top[position], run.probability[position], strict=True):
        name, share = escape(pictures.class_names[int(index)]), f"{100 * probability:.1f}"
        opening = f'<li style="--share:{share}%"><span>{name}</span>'
        if index == pictures.labels[position]:
            mark = '<span class="unseen">(the right one)</span>'
            opening = f'<li class="true" style="--share:{share}%"><span>✓ {name} {mark}</span>'
        bars.append(f"{opening}<span>{share} %</span></li>")
    return (
        f'<h4>{chip(row)}{escape(label)}</h4><ol class="likely {color(row)}">{"".join(bars)}</ol>'
    )


def neighbor_strips(pictures: Pictures, test: Split, train: Split, result: Neighbors) -> Markup:
    """Return one line per test image: itself, then its nearest training images with their class."""
    lines = []
    for query, nearest in zip(result.queries.tolist(), result.nearest.tolist(), strict=True):
        name = test.class_names[int(test.labels[query])]
        items = [_strip_item(picture(test, query, f"test image: {name}", SIDE_PX), name, "")]
        for position in nearest:
            other = train.class_names[int(train.labels[position])]
            image = picture(train, position, f"training image: {other}", SIDE_PX)
            items.append(_strip_item(image, other, "good" if other == name else "bad"))
        lines.append(f'<ul class="gallery strip">{"".join(items)}</ul>')
    return Markup("\n".join(lines))


def _strip_item(image: Markup, name: str, kind: str) -> str:
    sign = {"good": "✓ ", "bad": "✗ "}.get(kind, "")
    caption = f'<figcaption class="{kind}">{sign}{escape(name)}</figcaption>'
    return f"<li><figure>{image}{caption}</figure></li>"


def _position(split: Split, key: str) -> int:
    return int(np.flatnonzero(split.keys == key)[0])
