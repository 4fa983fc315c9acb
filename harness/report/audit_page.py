"""The page that `harness data audit` writes: one HTML file, whole in itself, pictures included."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from harness.data.audit import CROSSING, Audit
from harness.render.html import Html, document, escaped, folded, sentence, table
from harness.report.thumbnail import picture

SHOWN = 60  # pairs of pictures, and images of a list
OPEN_CLASSES = 30  # up to so many are listed without a click
SIDE = 160  # pixels of a picture at most
KINDS = {
    "exact": ("Equal files", "Byte for byte."),
    "near": (
        "Near duplicates",
        "the same picture recoded, resized, recolored or slightly retouched; crops and mirror images are missed",
    ),
}


def audit_page(
    found: Audit,
    *,
    dataset_notes: Sequence[str] = (),
    lists: Sequence[tuple[str, Sequence[Sequence[str]]]] = (),
) -> str:
    """The HTML page. `lists` are (heading, rows) to add, such as the undecodable images."""
    title = f"Audit of {found.title}"
    body = [
        f"<p>{len(found.train):,} training and {len(found.test):,} test images in {found.train.num_classes} classes</p>"
    ]
    body += [f"<p class=faint>{escape(sentence(remark))}</p>" for remark in dataset_notes]
    body += ["<h2>Copies</h2>", _copies(found)]
    for kind, pairs in (("exact", found.exact), ("near", found.near)):
        heading, meaning = KINDS[kind]
        body += [
            f"<h2>{heading}: {len(pairs):,}</h2>",
            f"<p class=faint>{sentence(meaning)}</p>" if pairs else "",
            _pairs(found, pairs),
        ]
    for heading, rows in lists:
        body += [
            f"<h2>{escape(heading)}: {len(rows):,}</h2>",
            table([], rows[:SHOWN], caption=heading),
            _more(len(rows)),
        ]
    body += ["<h2>Sizes</h2>", _sizes(found.shapes), "<h2>Classes</h2>", _classes(found)]
    content = "\n".join(filter(None, body))
    return document(
        title,
        f'<header>\n<h1>{escape(title)}</h1>\n</header>\n<main id="main" tabindex="-1">\n{content}\n</main>',
    )


def _copies(found: Audit) -> str:
    counts = found.counts()
    rows = [
        [f"in {where}", *(f"{counts[kind][where]:,}" for kind in KINDS)]
        for where in ("train", "test", CROSSING)
    ]
    shares = [counts[kind]["test images with a copy in train"] for kind in KINDS]
    of_test = max(1, len(found.test))
    rows.append(
        [
            "test images with a copy in train",
            *(f"{n:,} ({100 * n / of_test:.2f} %)" for n in shares),
        ]
    )
    return table(
        ["pairs", *(heading for heading, _ in KINDS.values())],
        rows,
        caption="Copies by where they are",
        numbers=(1, 2),
    )


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
        texts.append(escaped(f"{part}: {name} ({images.class_names[images.labels[i]]})"))
    pictures = "".join(picture(images, i, text, SIDE) for i, text in zip(pair, texts, strict=True))
    differ = images.labels[pair[0]] != images.labels[pair[1]]
    caption = "<br>".join([*texts, "<b>different classes</b>"] if differ else texts)
    return f"<figure{' class=differ' if differ else ''}><div>{pictures}</div><figcaption>{caption}</figcaption></figure>"


def _sizes(shapes: np.ndarray) -> str:
    rows = [
        [side, *(f"{value:.0f}" for value in np.percentile(values, [0, 5, 50, 95, 100]))]
        for side, values in (
            ("height", shapes[:, 0]),
            ("width", shapes[:, 1]),
            ("shorter side", shapes.min(1)),
        )
    ]
    head = ["pixels, as stored", "smallest", "5 %", "median", "95 %", "largest"]
    return table(head, rows, caption="Sizes of the images", numbers=range(1, 6))


def _classes(found: Audit) -> str:
    counts = [
        np.bincount(split.labels, minlength=split.num_classes)
        for split in (found.train, found.test)
    ]
    widest = max(1, int(counts[0].max()))
    rows = [
        [
            name,
            f"{a:,}",
            f"{b:,}",
            Html(f'<i class="bar" style="width:{8 * a / widest:.2f}em"></i>'),
        ]
        for name, a, b in zip(found.train.class_names, *counts, strict=True)
    ]
    listed = table(
        ["class", "train", "test", ""], rows, caption="Images of each class", numbers=(1, 2)
    )
    spread = "; ".join(
        f"{part}: {_range(n)} images a class"
        for part, n in zip(("train", "test"), counts, strict=True)
    )
    if len(rows) <= OPEN_CLASSES:
        return f"<p>{spread}</p>{listed}"
    return f"<p>{spread}</p>{folded(f'All {len(rows):,} classes', listed)}"


def _range(counts: np.ndarray) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _more(count: int) -> str:
    return f"<p>and {count - SHOWN:,} more</p>" if count > SHOWN else ""
