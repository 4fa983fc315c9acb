"""One page about a data set: its classes, its sizes, and the pictures that stand in it twice, side by side."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.contract import Split
from harness.data.duplicates import exact_pairs, near_pairs, thumbnails

SHOWN = 60  # pairs of pictures, and images of a list
CROSSING = "train and test"

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 64em; color: #222; }}
table {{ border-collapse: collapse; }} td, th {{ padding: .15em .8em; text-align: left; border-bottom: 1px solid #ddd; }}
td.n {{ text-align: right; font-variant-numeric: tabular-nums; }} i.bar {{ display: inline-block; height: .7em; background: #4477aa; }}
.pairs {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(15em, 1fr)); gap: 1em; }}
.pair {{ border: 1px solid #ddd; padding: .5em; font-size: 12px; overflow-wrap: anywhere; }} .pair.differ {{ border-color: #cc3311; }}
.pair img {{ width: 48%; aspect-ratio: 1; object-fit: contain; image-rendering: pixelated; background: #f4f4f4; }}
</style><h1>{title}</h1>{body}</html>
"""


@dataclass(frozen=True)
class Audit:
    """What was found. Pairs are positions in `images`, which holds the readable images of train and then those of test.

    where of a pair: "train", "test", or "train and test"
    """

    title: str
    train: Split
    test: Split
    images: Split
    n_train: int  # of `images`
    shapes: np.ndarray
    exact: list[tuple[int, int]]
    near: list[tuple[int, int]]  # without the exact ones

    def where(self, pair: tuple[int, int]) -> str:
        parts = {"train" if i < self.n_train else "test" for i in pair}
        return CROSSING if len(parts) == 2 else parts.pop()

    def counts(self) -> dict[str, dict[str, int]]:
        """kind of pair -> where -> how many; and `test_images`: how many test images have a copy in train."""
        found = {}
        for kind, pairs in (("exact", self.exact), ("near", self.near)):
            places = [self.where(pair) for pair in pairs]
            found[kind] = {where: places.count(where) for where in ("train", "test", CROSSING)}
            found[kind]["test images with a copy in train"] = len(
                {max(pair) for pair, place in zip(pairs, places, strict=True) if place == CROSSING}
            )
        return found


def audit(title: str, train: Split, test: Split) -> Audit:
    """Look at every readable image of both splits; memory grows by 3 kB an image."""
    readable = [split.take(np.flatnonzero(split.rows >= 0)) for split in (train, test)]
    images = readable[0] + readable[1]
    small, shapes = thumbnails(images)
    exact = exact_pairs(images.keys)
    known = set(exact)
    near = [(int(i), int(j)) for i, j in near_pairs(small) if (int(i), int(j)) not in known]
    return Audit(title, train, test, images, len(readable[0]), shapes, exact, near)


def audit_page(found: Audit, *, remarks: Sequence[str] = (), lists: Sequence[tuple[str, Sequence[Sequence[str]]]] = ()) -> str:
    """The HTML page, whole in itself. `lists` are (heading, rows) to add, such as the undecodable images."""
    body = [f"<p>{html.escape(remark)}</p>" for remark in remarks]
    body += ["<h2>Classes</h2>", _classes(found), "<h2>Sizes</h2>", _sizes(found.shapes), "<h2>Copies</h2>", _copies(found)]
    for kind, pairs in (("Equal files", found.exact), ("Near duplicates", found.near)):
        crossing_first = sorted(pairs, key=lambda pair: found.where(pair) != CROSSING)
        body += [f"<h2>{kind}</h2>", _pairs(found, crossing_first)]
    for heading, rows in lists:
        body += [f"<h2>{html.escape(heading)}: {len(rows)}</h2>", _table([], [list(row) for row in rows[:SHOWN]]), _more(len(rows))]
    return PAGE.format(title=html.escape(f"Audit of {found.title}"), body="\n".join(body))


def _classes(found: Audit) -> str:
    counts = [np.bincount(split.labels, minlength=split.classes) for split in (found.train, found.test)]
    widest = max(1, int(counts[0].max()))
    rows = [
        [html.escape(name), f"{a:,}", f"{b:,}", f'<i class="bar" style="width:{12 * a / widest:.2f}em"></i>']
        for name, a, b in zip(found.train.class_names, *counts, strict=True)
    ]
    return _table(["class", "train", "test", ""], rows, escaped=True)


def _sizes(shapes: np.ndarray) -> str:
    rows = [
        [side, *(f"{value:.0f}" for value in np.percentile(values, [0, 5, 50, 95, 100]))]
        for side, values in (("height", shapes[:, 0]), ("width", shapes[:, 1]), ("shorter side", shapes.min(1)))
    ]
    return "<p>Pixels, as stored.</p>" + _table(["", "smallest", "5 %", "median", "95 %", "largest"], rows)


def _copies(found: Audit) -> str:
    counts = found.counts()
    heads = list(counts["exact"])
    n_test = max(1, len(found.test))
    rows = [
        [kind, *(f"{values[head]:,}" for head in heads), f"{100 * values[heads[-1]] / n_test:.2f} %"]
        for kind, values in counts.items()
    ]
    return _table(["pairs", *heads, "of the test split"], rows)


def _pairs(found: Audit, pairs: list[tuple[int, int]]) -> str:
    shown = "".join(_pair(found, pair) for pair in pairs[:SHOWN])
    return f'<div class="pairs">{shown}</div>{_more(len(pairs))}' if pairs else "<p>none</p>"


def _pair(found: Audit, pair: tuple[int, int]) -> str:
    labels = found.images.labels[list(pair)]
    names = [found.images.keys[i] if found.images.names is None else found.images.names[i] for i in pair]
    classes = [found.images.class_names[label] for label in labels]
    text = "<br>".join(
        html.escape(f"{part}: {name} ({c})") for part, name, c in zip(_parts(found, pair), names, classes, strict=True)
    )
    pictures = "".join(f'<img src="data:image/png;base64,{_png(found.images, i)}" alt="">' for i in pair)
    differ = " differ" if labels[0] != labels[1] else ""
    return f'<div class="pair{differ}">{pictures}<br>{text}{"<br><b>different classes</b>" if differ else ""}</div>'


def _parts(found: Audit, pair: tuple[int, int]) -> list[str]:
    return ["train" if i < found.n_train else "test" for i in pair]


def _png(split: Split, position: int) -> str:
    from PIL import Image

    pixels = split.images.read(split.rows[[position]])[0].permute(1, 2, 0).contiguous().numpy()
    buffer = io.BytesIO()
    image: Any = Image.fromarray(pixels)
    image.thumbnail((160, 160))
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, escaped: bool = False) -> str:
    def cell(text: str) -> str:
        number = text[:1].isdigit() and not escaped
        return f"<td{' class=n' if number else ''}>{text if escaped else html.escape(text)}</td>"

    top = "".join(f"<th>{html.escape(text)}</th>" for text in head)
    below = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{below}</table>"


def _more(count: int) -> str:
    return f"<p>and {count - SHOWN:,} more</p>" if count > SHOWN else ""
