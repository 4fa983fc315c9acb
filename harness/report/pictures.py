"""Pictures of a finished run: learning curves, confusions, and the filters of the first layer.

matplotlib takes seconds to import and is imported when something is drawn.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from harness.comparison.disagreement import confusions, predictions
from harness.files import write_atomic
from harness.report.lettering import Lettering
from harness.runs.record import PICTURES, Record
from harness.runs.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Filters = Callable[[], Mapping[str, Any]]
DOTS_PER_INCH = 110
CLASSES_SHOWN = 100  # with more, a class would have too few pixels: pairs are shown instead
CLASSES_NAMED = 25  # more names do not fit an axis
CLASSES_COUNTED = 12  # more numbers do not fit their cells
PAIRS = 30
FILTERS_PER_ROW = 16
# Where the home folder cannot be written, matplotlib takes a temporary one and says so at length.
logging.getLogger("matplotlib").setLevel(logging.ERROR)


def draw_pictures(record: Record, filters: Filters = dict) -> None:
    """Write the pictures of a finished run to its folder `pictures`.

    Parameters
    ----------
    record : Record
    filters : callable
        Returns name -> (n, 3, height, width) weights, as `HasFilters` in the contract; most
        pipelines have none.
    """
    folder = record.folder / PICTURES
    folder.mkdir(exist_ok=True)
    weights = filters()
    result, names = record.result, record.spec.class_names
    lettering = Lettering.for_texts([result.title, result.name, *names, *weights])
    with lettering.applied():
        figures = {
            "filters": draw_filters(weights),
            "curves": draw_curves(replace(result, title=lettering.drawn(result.title))),
            "confusion": draw_confusion(record, lettering),
        }
    for name, figure in figures.items():
        if figure:
            buffer = BytesIO()
            figure.savefig(buffer, dpi=DOTS_PER_INCH, format="png")
            write_atomic(folder / f"{name}.png", partial(_write, buffer.getvalue()))


def _write(data: bytes, file: IO[bytes]) -> None:
    file.write(data)


def draw_filters(filters: Mapping[str, Any]) -> Figure | None:
    """Draw the filters, each scaled by its largest weight around gray for 0.

    Each name has a panel of its own: two columns are apart as in Figure 3 of the paper.
    """
    if not filters:
        return None
    from matplotlib.figure import Figure

    panels = {
        name: tile_filters(np.asarray(weights, dtype=np.float32))
        for name, weights in filters.items()
    }
    heights = [len(panel) for panel in panels.values()]
    width = max(panel.shape[1] for panel in panels.values())
    figure = Figure(figsize=(7, 0.4 * len(panels) + 7 * sum(heights) / width), layout="constrained")
    all_axes = np.atleast_1d(figure.subplots(len(panels), 1, height_ratios=heights))
    for axes, (name, panel) in zip(all_axes, panels.items(), strict=True):
        axes.imshow(panel, interpolation="nearest")
        axes.set_title(
            f"{name}: {len(filters[name])} filters, each scaled by its largest weight",
            fontsize="small",
        )
        axes.axis("off")
    return figure


def tile_filters(weights: np.ndarray) -> np.ndarray:
    """Return one picture of all filters, FILTERS_PER_ROW in a row and one white pixel apart.

    Parameters
    ----------
    weights : (n, 3, height, width) float32

    Returns
    -------
    (rows * (height + 1) - 1, columns * (width + 1) - 1, 3) uint8
    """
    n, _, height, width = weights.shape
    columns = min(n, FILTERS_PER_ROW)
    rows = -(-n // columns)
    largest = np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
    scaled = 127.5 + 127.5 * weights / np.where(largest > 0, largest, 1)
    colors = np.rint(scaled).astype(np.uint8).transpose(0, 2, 3, 1)
    picture = np.full((rows * (height + 1), columns * (width + 1), 3), 255, dtype=np.uint8)
    for i, filter_ in enumerate(colors):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        picture[top : top + height, left : left + width] = filter_
    return picture[:-1, :-1]


def draw_curves(result: Result) -> Figure | None:
    """Draw error, loss and learning rate by epoch; None where no epochs were logged."""
    panels = [("train/loss", "loss on train", "linear"), ("lr", "learning rate", "log")]
    panels = [(name, label, scale) for name, label, scale in panels if result.curves.get(name)]
    if not result.curves.get("train/top1_error") or not panels:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3 + 2 * len(panels)), layout="constrained")
    first, *others = figure.subplots(
        1 + len(panels), 1, sharex=True, height_ratios=[3, *[2] * len(panels)]
    )
    plot_errors(first, [result])
    for axes, (name, label, scale) in zip(others, panels, strict=True):
        steps, values = zip(*result.curves[name], strict=True)
        axes.plot([step + 1 for step in steps], values)
        axes.set(ylabel=label, yscale=scale if min(values) > 0 else "linear")
        axes.grid(alpha=0.3)
    others[-1].set_xlabel("epoch")
    return figure


def plot_errors(axes: Axes, results: Sequence[Result]) -> None:
    """Plot top-1 errors in percent on train and tune by epoch.

    The tune error of a run without epochs is a horizontal line.
    """
    for number, result in enumerate(results):
        color, label = f"C{number}", f"{result.name}, seed {result.seed}"
        if "train/top1_error" in result.curves:
            for curve, style, images in (
                ("train/top1_error", ":", "train (augmented, running)"),
                ("val/top1_error", "-", "tune, one view"),
            ):
                if curve in result.curves:
                    steps, errors = zip(*result.curves[curve], strict=True)
                    epochs = [step + 1 for step in steps]
                    axes.plot(epochs, errors, style, color=color, label=f"{label}: {images}")
        elif result.tune_top1_error is not None:
            error = result.tune_top1_error
            axes.axhline(error, linestyle="--", color=color, label=f"{label}: tune")
    title = f"{results[0].title}, tune split of {results[0].n_tune:,} images"
    axes.set(ylabel="top-1 error, %", title=title)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()


def draw_confusion(record: Record, lettering: Lettering | None = None) -> Figure | None:
    """Draw the confusion matrix of the test split in percent of each class.

    For more than CLASSES_SHOWN classes, draw the most confused pairs instead.

    Parameters
    ----------
    record : Record
    lettering : Lettering, optional
        Default: as if every character had a glyph.
    """
    if record.result.top1_error is None:
        return None
    lettering = lettering or Lettering((), frozenset())
    run, names = predictions(record), lettering.drawn_names(record.spec.class_names)
    pairs = confusions(run)
    if len(names) > CLASSES_SHOWN:
        named = [(names[c.label], names[c.predicted], c.count, c.n) for c in pairs[:PAIRS]]
        return _draw_pairs(_heading(record.result, lettering), named)
    counts = np.zeros((len(names), len(names)))
    for pair in pairs:
        counts[pair.label, pair.predicted] = pair.count
    np.fill_diagonal(counts, np.bincount(run.labels[run.right], minlength=len(names)))
    sizes = np.bincount(run.labels, minlength=len(names))
    percent = 100 * counts / np.maximum(sizes, 1)[:, None]
    return _draw_matrix(_heading(record.result, lettering), counts, percent, names)


def _draw_matrix(
    heading: str, counts: np.ndarray, percent: np.ndarray, names: Sequence[str]
) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 6), layout="constrained")
    figure.suptitle(heading, fontsize="medium")
    axes = figure.add_subplot(xlabel="taken for", ylabel="true class")
    # The root makes a handful of confusions visible beside a diagonal of nearly 100 %.
    image = axes.imshow(np.sqrt(percent), cmap="Blues", vmin=0, vmax=10)
    bar = figure.colorbar(
        image, ticks=np.sqrt([0, 1, 5, 20, 50, 100]), label="% of the class's test images"
    )
    bar.ax.set_yticklabels(["0", "1", "5", "20", "50", "100"])
    if len(names) <= CLASSES_NAMED:
        axes.set_xticks(range(len(names)), [_short(name) for name in names], rotation=90)
        axes.set_yticks(range(len(names)), [_short(name) for name in names])
    if len(names) <= CLASSES_COUNTED:
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if percent[row, column] > 40 else "black"
            text = axes.text(column, row, f"{counts[row, column]:.0f}", color=color)
            text.set(ha="center", va="center", fontsize="small")
    return figure


def _draw_pairs(heading: str, pairs: Sequence[tuple[str, str, int, int]]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 7), layout="constrained")
    figure.suptitle(f"{heading}\nthe {len(pairs)} most confused pairs", fontsize="medium")
    axes = figure.add_subplot(xlabel="% of the class's test images")
    labels = [f"{_short(label)} taken for {_short(predicted)}" for label, predicted, *_ in pairs]
    bars = axes.barh(range(len(pairs)), [100 * count / n for *_, count, n in pairs])
    axes.bar_label(
        bars, [f"{count} of {n}" for *_, count, n in pairs], fontsize="x-small", padding=2
    )
    axes.set_yticks(range(len(pairs)), labels, fontsize="small")
    axes.margins(x=0.12, y=0.01)
    axes.invert_yaxis()
    return figure


def _heading(result: Result, lettering: Lettering) -> str:
    """Return what is drawn over a picture: the run, its error, and a note on missing glyphs."""
    return "\n".join(filter(None, [lettering.drawn(_title(result)), lettering.note]))


def _title(result: Result) -> str:
    title = f"{result.name}, seed {result.seed}, on {result.title}"
    if result.top1_error is None:
        return title
    return f"{title}: top-1 error {result.top1_error.value:.2f} % of {result.n_test:,}"


def _short(name: str, length: int = 22) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"
