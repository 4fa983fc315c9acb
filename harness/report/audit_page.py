"""The page of `harness data audit`: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from harness.data.audit import CROSSING, Audit
from harness.render.html import document, escape, folded, sentence
from harness.render.table import Column, Table
from harness.report.thumbnail import picture

SHOWN = 60  # pairs of pictures, and images of a list
OPEN_CLASSES = 30  # a longer table of classes is folded
SIDE_PX = 160  # of a picture at most
KINDS = {
    "exact": ("Equal files", "Byte for byte."),
    "near": (
        "Near duplicates",
        "The same picture recoded, resized, recolored or slightly retouched; crops and flipped "
        "images are missed.",
    ),
}


def audit_page(
    audit: Audit,
    *,
    dataset_notes: Sequence[str] = (),
    lists: Sequence[tuple[str, Sequence[Sequence[str]]]] = (),
) -> str:
    """Return the HTML page.

    Parameters
    ----------
    audit : Audit
    dataset_notes : sequence of str
    lists : sequence of (str, sequence of rows)
        Heading and rows of further tables, such as the undecodable images.
    """
    title = f"Audit of {audit.title}"
    body = [
        f"<p>{len(audit.train):,} training and {len(audit.test):,} test images in "
        f"{audit.train.num_classes} classes</p>"
    ]
    body += [f"<p class=faint>{escape(sentence(note))}</p>" for note in dataset_notes]
    body += ["<h2>Copies</h2>", _copies(audit)]
    for kind, pairs in (("exact", audit.exact), ("near", audit.near)):
        heading, meaning = KINDS[kind]
        body.append(f"<h2>{heading}: {len(pairs):,}</h2>")
        if pairs:
            body += [f"<p class=faint>{meaning}</p>", _pairs(audit, pairs)]
    for heading, rows in lists:
        body.append(f"<h2>{escape(heading)}: {len(rows):,}</h2>")
        body.append(_list(heading, rows))
    body += ["<h2>Sizes</h2>", _sizes(audit.shapes), "<h2>Classes</h2>", _classes(audit)]
    content = "\n".join(filter(None, body))
    header = f"<header>\n<h1>{escape(title)}</h1>\n</header>"
    return document(title, f'{header}\n<main id="main" tabindex="-1">\n{content}\n</main>')


def _copies(audit: Audit) -> Markup:
    counts = audit.pair_counts()
    rows = [
        [f"in {where}", *(f"{counts[kind][where]:,}" for kind in KINDS)]
        for where in ("train", "test", CROSSING)
    ]
    copied = [counts[kind]["test images with a copy in train"] for kind in KINDS]
    n_test = max(1, len(audit.test))
    shares = [f"{count:,} ({100 * count / n_test:.2f} %)" for count in copied]
    rows.append(["test images with a copy in train", *shares])
    head = ["pairs", *(heading for heading, _ in KINDS.values())]
    return Table(head, rows, caption="Copies by split").to_html()


def _pairs(audit: Audit, pairs: Sequence[tuple[int, int]]) -> str:
    """Return pairs of pictures; those across train and test, which flatter the error, first."""
    crossing_first = sorted(pairs, key=lambda pair: audit.location(pair) != CROSSING)
    shown = "\n".join(_pair(audit, pair) for pair in crossing_first[:SHOWN])
    return f'<div class="pairs">\n{shown}\n</div>{_more(len(pairs))}'


def _pair(audit: Audit, pair: tuple[int, int]) -> str:
    images = audit.images
    texts = []
    for i in pair:
        name = images.keys[i] if images.names is None else images.names[i]
        split = "train" if i < audit.n_train else "test"
        texts.append(escape(f"{split}: {name} ({images.class_names[images.labels[i]]})"))
    pictures = "".join(
        picture(images, i, text, SIDE_PX) for i, text in zip(pair, texts, strict=True)
    )
    caption = "<br>".join(texts)
    if images.labels[pair[0]] == images.labels[pair[1]]:
        return f"<figure><div>{pictures}</div><figcaption>{caption}</figcaption></figure>"
    caption += "<br><b>different classes</b>"
    return f"<figure class=differ><div>{pictures}</div><figcaption>{caption}</figcaption></figure>"


def _list(heading: str, rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head = [Column("", "left")] * len(rows[0])
    return f"{Table(head, rows[:SHOWN], caption=heading).to_html()}{_more(len(rows))}"


def _sizes(shapes: np.ndarray) -> Markup:
    sides = {"height": shapes[:, 0], "width": shapes[:, 1], "shorter side": shapes.min(1)}
    rows = [
        [side, *(f"{value:.0f}" for value in np.percentile(values, [0, 5, 50, 95, 100]))]
        for side, values in sides.items()
    ]
    head = ["pixels, as stored", "smallest", "5 %", "median", "95 %", "largest"]
    return Table(head, rows, caption="Sizes of the images").to_html()


def _classes(audit: Audit) -> str:
    counts = [
        np.bincount(split.labels, minlength=split.num_classes)
        for split in (audit.train, audit.test)
    ]
    largest = max(1, int(counts[0].max()))
    rows = [
        [name, f"{n_train:,}", f"{n_test:,}", _bar(n_train / largest)]
        for name, n_train, n_test in zip(audit.train.class_names, *counts, strict=True)
    ]
    head: list[Column | str] = ["class", "train", "test", Column("", "left")]
    table = Table(head, rows, caption="Images of each class").to_html()
    ranges = "; ".join(
        f"{split}: {_range(n)} images per class"
        for split, n in zip(("train", "test"), counts, strict=True)
    )
    if len(rows) > OPEN_CLASSES:
        table = folded(f"All {len(rows):,} classes", table)
    return f"<p>{ranges}</p>{table}"


def _bar(share: float) -> Markup:
    return Markup(f'<i class="bar" style="width:{8 * share:.2f}em"></i>')


def _range(counts: np.ndarray) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _more(count: int) -> str:
    return f"<p>and {count - SHOWN:,} more</p>" if count > SHOWN else ""
