"""Test images beside what each run says of them. Pictures come from the test split, by key, one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.comparison.disagreement import Answers
from harness.data.split import Split
from harness.render.charts import color
from harness.render.html import Html, chip, escaped
from harness.report.thumbnail import picture

if TYPE_CHECKING:
    from harness.report.neighbors import Neighbors

SIDE = 96  # pixels of a picture at most


@dataclass(frozen=True)
class Pictures:
    """The test images of a comparison, and who says what of them.

    split     the test split, or None where it cannot be opened any more
    rows      what the rows of the table are called, in their order, and what they say
    """

    split: Split | None
    class_names: Sequence[str]
    rows: Sequence[tuple[str, Answers]]

    @property
    def labels(self) -> np.ndarray:
        return self.rows[0][1].labels

    def true(self, position: int) -> str:
        return self.class_names[int(self.labels[position])]

    def said(self, row: int, position: int) -> str:
        """The class that a row takes the image for."""
        given = self.rows[row][1]
        if not given.readable[position]:
            return "nothing"
        name = self.class_names[int(given.predicted[position])]
        return f"{name}, tied with others" if given.tied[position] else name

    def alt(self, position: int) -> str:
        answers = ", ".join(
            f"{label} says {self.said(row, position)}" for row, (label, _) in enumerate(self.rows)
        )
        return f"{self.true(position)}; {answers}"

    def image(self, position: int) -> Html:
        """The picture with its alt text, or a box that says why there is none."""
        if self.split is None:
            return Html("")
        found = _position(self.split, str(self.rows[0][1].keys[position]))
        if self.split.rows[found] < 0:
            return Html('<div class="gone">cannot be decoded</div>')
        return picture(self.split, found, self.alt(position), SIDE)


def gallery(
    pictures: Pictures, positions: Sequence[int], rows: Sequence[int], *, chance: bool = False
) -> Html:
    """One figure an image: its class, and below what each of `rows` says; `chance`: with the probability of the first row's answer."""
    items = []
    for position in map(int, positions):
        lines = [f"<b>{escaped(pictures.true(position))}</b>"]
        for place, row in enumerate(rows):
            given = pictures.rows[row][1]
            share = (
                f" {100 * given.probability[position, 0]:.1f} %" if chance and place == 0 else ""
            )
            right = '<b class="good">✓</b>' if given.right[position] else '<b class="bad">✗</b>'
            lines.append(f"{chip(row)}{right} {escaped(pictures.said(row, position) + share)}")
        caption = "".join(f"<span>{line}</span>" for line in lines)
        items.append(
            f"<li><figure>{pictures.image(position)}<figcaption>{caption}</figcaption></figure></li>"
        )
    return Html('<ul class="gallery">\n' + "\n".join(items) + "\n</ul>")


def legend(pictures: Pictures, rows: Sequence[int]) -> Html:
    """What the lines below a picture are."""
    said = ", ".join(f"{chip(row)}{escaped(pictures.rows[row][0])}" for row in rows)
    return Html(
        f'<p class="faint">Below each picture its class, then what {said} says: <b class="good">✓</b> right, <b class="bad">✗</b> wrong.</p>'
    )


def likely(pictures: Pictures, positions: Sequence[int]) -> Html:
    """As Figure 4 of Krizhevsky et al. 2012: each image, and of every row the five likeliest classes as bars, the right one marked."""
    cards = []
    for position in map(int, positions):
        lists = []
        for row, (label, given) in enumerate(pictures.rows):
            bars = []
            for index, share in zip(
                given.top[position].tolist(), given.probability[position].tolist(), strict=True
            ):
                true = index == pictures.labels[position]
                name = escaped(pictures.class_names[index])
                mark = ' <span class="unseen">(the right one)</span>' if true else ""
                bars.append(
                    f'<li{" class=true" if true else ""} style="--share:{100 * share:.1f}%"><span>{"✓ " if true else ""}{name}{mark}</span><span>{100 * share:.1f} %</span></li>'
                )
            lists.append(
                f'<h4>{chip(row)}{escaped(label)}</h4><ol class="likely {color(row)}">{"".join(bars)}</ol>'
            )
        head = f'<div class="top">{pictures.image(position)}<h3>{escaped(pictures.true(position))}</h3></div>'
        cards.append(f'<li><div class="card">{head}{"".join(lists)}</div></li>')
    return Html('<ul class="cards">\n' + "\n".join(cards) + "\n</ul>")


def neighbors_of(pictures: Pictures, test: Split, train: Split, found: Neighbors) -> Html:
    """A line a test image: itself, then the training images nearest to it, each with its class."""
    lines = []
    for query, nearest in zip(found.queries.tolist(), found.nearest.tolist(), strict=True):
        name = test.class_names[int(test.labels[query])]
        items = [
            f"<li>{_captioned(picture(test, query, f'test image: {name}', SIDE), name, '')}</li>"
        ]
        for position in nearest:
            other = train.class_names[int(train.labels[position])]
            same = "good" if other == name else "bad"
            items.append(
                f"<li>{_captioned(picture(train, position, f'training image: {other}', SIDE), other, same)}</li>"
            )
        lines.append(f'<ul class="gallery strip">{"".join(items)}</ul>')
    return Html("\n".join(lines))


def _captioned(image: Html, name: str, kind: str) -> Html:
    sign = {"good": "✓ ", "bad": "✗ "}.get(kind, "")
    return Html(
        f'<figure>{image}<figcaption class="{kind}">{sign}{escaped(name)}</figcaption></figure>'
    )


def _position(split: Split, key: str) -> int:
    return int(np.flatnonzero(split.keys == key)[0])
