"""The page that `harness data audit` writes: one HTML file, whole in itself, pictures included."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from harness.contract import Split
from harness.data.audit import CROSSING, Audit

SHOWN = 60  # pairs of pictures, and images of a list
OPEN_CLASSES = 30  # up to so many are listed without a click
SIDE = 160  # pixels of a picture at most
KINDS = {
    "exact": ("Equal files", "Byte for byte."),
    "near": (
        "Near duplicates",
        "the same picture recoded, resized, recoloured or slightly retouched; crops and mirror images are missed",
    ),
}

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ground: #fff; --ink: #222; --faint: #5c5c5c; --line: #ddd; --bar: #4477aa; --alarm: #bb2211; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ground: #191919; --ink: #e4e4e4; --faint: #a8a8a8; --line: #444; --bar: #77aadd; --alarm: #ff8866; }}
}}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 1.5em auto; padding: 0 1em; max-width: 64em; background: var(--ground); color: var(--ink); }}
h1, h2 {{ line-height: 1.2; }} h2 {{ margin-top: 1.6em; }} p.faint {{ color: var(--faint); }}
.wide {{ overflow-x: auto; }} table {{ border-collapse: collapse; }}
td, th {{ padding: .2em .8em; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }}
th:first-child, td:first-child {{ padding-left: 0; }}
td.n, th.n {{ text-align: right; font-variant-numeric: tabular-nums; }} td.n {{ white-space: nowrap; }}
@media (max-width: 32em) {{ td, th {{ padding: .2em .4em; }} }}
i.bar {{ display: inline-block; height: .7em; background: var(--bar); }}
summary {{ cursor: pointer; }}
.pairs {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(15em, 100%), 1fr)); gap: 1em; }}
figure {{ margin: 0; padding: .5em; border: 1px solid var(--line); }} figure.differ {{ border-color: var(--alarm); }}
figure div {{ display: grid; grid-template-columns: 1fr 1fr; gap: .5em; }}
figure img {{ width: 100%; aspect-ratio: 1; object-fit: contain; }} figure img.small {{ image-rendering: pixelated; }}
figcaption {{ margin-top: .4em; font-size: 12px; overflow-wrap: anywhere; }} figcaption b {{ color: var(--alarm); }}
</style>
<h1>{title}</h1>
{body}
</html>
"""


def audit_page(found: Audit, *, remarks: Sequence[str] = (), lists: Sequence[tuple[str, Sequence[Sequence[str]]]] = ()) -> str:
    """The HTML page. `lists` are (heading, rows) to add, such as the undecodable images."""
    body = [f"<p>{len(found.train):,} training and {len(found.test):,} test images in {found.train.classes} classes</p>"]
    body += [f"<p class=faint>{escape(remark)}</p>" for remark in remarks]
    body += ["<h2>Copies</h2>", _copies(found)]
    for kind, pairs in (("exact", found.exact), ("near", found.near)):
        heading, meaning = KINDS[kind]
        body += [f"<h2>{heading}: {len(pairs):,}</h2>", f"<p class=faint>{meaning}</p>" if pairs else "", _pairs(found, pairs)]
    for heading, rows in lists:
        body += [f"<h2>{escape(heading)}: {len(rows):,}</h2>", _table([], rows[:SHOWN]), _more(len(rows))]
    body += ["<h2>Sizes</h2>", _sizes(found.shapes), "<h2>Classes</h2>", _classes(found)]
    return PAGE.format(title=escape(f"Audit of {found.title}"), body="\n".join(filter(None, body)))


def _copies(found: Audit) -> str:
    counts = found.counts()
    rows = [[f"in {where}", *(f"{counts[kind][where]:,}" for kind in KINDS)] for where in ("train", "test", CROSSING)]
    shares = [counts[kind]["test images with a copy in train"] for kind in KINDS]
    of_test = max(1, len(found.test))
    rows.append(["test images with a copy in train", *(f"{n:,} ({100 * n / of_test:.2f} %)" for n in shares)])
    return _table(["pairs", *(heading for heading, _ in KINDS.values())], rows, numbers=(1, 2))


def _pairs(found: Audit, pairs: Sequence[tuple[int, int]]) -> str:
    """Those of train and test first: they are what flatters a test error."""
    crossing_first = sorted(pairs, key=lambda pair: found.where(pair) != CROSSING)
    shown = "\n".join(_pair(found, pair) for pair in crossing_first[:SHOWN])
    return f'<div class="pairs">\n{shown}\n</div>{_more(len(pairs))}' if pairs else ""


def _pair(found: Audit, pair: tuple[int, int]) -> str:
    images = found.images
    texts = []
    for i in pair:
        name = images.keys[i] if images.names is None else images.names[i]
        part = "train" if i < found.n_train else "test"
        texts.append(escape(f"{part}: {name} ({images.class_names[images.labels[i]]})"))
    pictures = "".join(_picture(images, i, text) for i, text in zip(pair, texts, strict=True))
    differ = images.labels[pair[0]] != images.labels[pair[1]]
    caption = "<br>".join([*texts, "<b>different classes</b>"] if differ else texts)
    return f"<figure{' class=differ' if differ else ''}><div>{pictures}</div><figcaption>{caption}</figcaption></figure>"


def _picture(split: Split, position: int, alt: str) -> str:
    from PIL import Image

    pixels = split.images.read(split.rows[[position]])[0].permute(1, 2, 0).contiguous().numpy()
    small = max(pixels.shape[:2]) <= SIDE // 2
    image: Any = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG" if small else "JPEG", quality=90)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img{" class=small" if small else ""} src="data:image/{"png" if small else "jpeg"};base64,{data}" alt="{alt}">'


def _sizes(shapes: np.ndarray) -> str:
    rows = [
        [side, *(f"{value:.0f}" for value in np.percentile(values, [0, 5, 50, 95, 100]))]
        for side, values in (("height", shapes[:, 0]), ("width", shapes[:, 1]), ("shorter side", shapes.min(1)))
    ]
    head = ["pixels, as stored", "smallest", "5 %", "median", "95 %", "largest"]
    return _table(head, rows, numbers=range(1, 6))


def _classes(found: Audit) -> str:
    counts = [np.bincount(split.labels, minlength=split.classes) for split in (found.train, found.test)]
    widest = max(1, int(counts[0].max()))
    bars = [f'<i class="bar" style="width:{8 * n / widest:.2f}em"></i>' for n in counts[0].tolist()]
    rows = [[name, f"{a:,}", f"{b:,}"] for name, a, b in zip(found.train.class_names, *counts, strict=True)]
    table = _table(["class", "train", "test"], rows, numbers=(1, 2), bars=bars)
    spread = "; ".join(f"{part}: {_range(n)} images a class" for part, n in zip(("train", "test"), counts, strict=True))
    if len(rows) <= OPEN_CLASSES:
        return f"<p>{spread}</p>{table}"
    return f"<p>{spread}</p><details><summary>All {len(rows):,} classes</summary>{table}</details>"


def _range(counts: np.ndarray) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = (), bars: Sequence[str] = ()) -> str:
    """`numbers` are the columns that hold some; `bars`, HTML already, stand at the ends of the rows."""

    def line(tag: str, cells: Sequence[str], end: str = "") -> str:
        texts = (f"<{tag}{' class=n' if i in numbers else ''}>{escape(cell)}</{tag}>" for i, cell in enumerate(cells))
        return f"<tr>{''.join(texts)}{end}</tr>"

    ends = [f"<td>{bar}</td>" for bar in bars] or [""] * len(rows)
    below = "\n".join(line("td", row, end) for row, end in zip(rows, ends, strict=True))
    top = line("th", head, "<th></th>" if bars else "") if head else ""
    return f'<div class="wide"><table>{top}\n{below}\n</table></div>'


def _more(count: int) -> str:
    return f"<p>and {count - SHOWN:,} more</p>" if count > SHOWN else ""
