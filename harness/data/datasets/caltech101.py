"""Caltech-101: 9,144 photographs, 101 classes of objects and a background (Fei-Fei et al. 2004)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from annotated_types import Ge

from harness.data.split import Dataset, Split
from harness.errors import UserError

BACKGROUND = "BACKGROUND_Google"
ARCHIVE = "101_ObjectCategories.tar.gz"
PAGE = "https://data.caltech.edu/records/mzrjq-6wc02"


def build(
    root: Path,
    *,
    path: str = "",
    train_per_class: Annotated[int, Ge(1)] = 30,
    test_per_class: Annotated[int, Ge(0)] = 50,
    background: bool = True,
    split_seed: int = 0,
    size: Annotated[int, Ge(8)] = 256,
) -> Dataset:
    """Draw training and test images of each class.

    Published figures are means over the classes: compare `mean_class_error`.

    Parameters
    ----------
    path
        The folder or archive 101_ObjectCategories. Default: in `caltech101` in the data root.
    train_per_class
        Training images per class.
    test_per_class
        At most this many of the other images of a class are test images; 0: all of them.
    background
        Whether BACKGROUND_Google is a class (102 in all); papers differ.
    split_seed
        Determines, with the content of the images, which ones are drawn.
    size
        Upper limit of the shorter side, in pixels; smaller images keep their size.

    Raises
    ------
    UserError
        If the images are missing, or a class is too small.
    """
    folder = Path(path).expanduser() if path else root / "caltech101"
    complete, image_notes = _prepare_images(folder, root, size)
    if not background and BACKGROUND in complete.class_names:
        complete = _without_class(complete, BACKGROUND)
    train, test = _draw(complete, train_per_class, test_per_class, split_seed)
    tested = f"at most {test_per_class}" if test_per_class else "all other"
    note = (
        f"{complete.num_classes} classes, {train_per_class} training and {tested} test images "
        f"each (split {split_seed}); papers give the mean over classes: read mean_class_error"
    )
    return Dataset(title="caltech101", train=train, test=test, dataset_notes=(note, *image_notes))


def _prepare_images(folder: Path, root: Path, size: int) -> tuple[Split, list[str]]:
    """Return all images, once they are prepared, and the notes on them; raise UserError if the
    layout is another one.
    """
    from harness.data.image_notes import image_notes
    from harness.data.prepare import prepare
    from harness.data.sources import UNSPLIT, open_source
    from harness.progress import progress

    prepared = prepare(open_source(_find_images(folder)), root, size=size, progress=progress)
    if prepared.parts != [UNSPLIT]:
        raise UserError(
            f"caltech101: {prepared.manifest['source']} has the parts "
            f"{', '.join(prepared.parts)}; expected only class folders, as in {ARCHIVE}"
        )
    return prepared.split(UNSPLIT), image_notes(prepared)


def _draw(
    split: Split, train_per_class: int, test_per_class: int, seed: int
) -> tuple[Split, Split]:
    """Return (train, test); raise UserError if a class would have no test images."""
    import numpy as np

    from harness.data.splitting import shuffled_members

    train: list[int] = []
    test: list[int] = []
    for label, members in shuffled_members(split, seed):
        if len(members) <= train_per_class:
            raise UserError(
                f"caltech101: train_per_class={train_per_class} leaves no test images of class "
                f"{split.class_names[label]!r}, which has {len(members)} images; this class "
                f"allows at most {len(members) - 1}"
            )
        others = members[train_per_class:]
        train += members[:train_per_class]
        test += others[:test_per_class] if test_per_class else others
    chosen = np.sort(train)
    readable = chosen[split.rows[chosen] >= 0]
    return split.take(readable), split.take(np.sort(test))


def _find_images(folder: Path) -> Path:
    """Return the archive or the folder of class folders in or at `folder`."""
    for candidate in (folder / ARCHIVE, folder / ARCHIVE.partition(".")[0], folder):
        if candidate.is_file() or (candidate / "accordion").is_dir():
            return candidate
    raise UserError(
        f"Caltech-101 is not in {folder}: put {ARCHIVE} there "
        f"(inside caltech-101.zip, from {PAGE}), or give path="
    )


def _without_class(split: Split, class_name: str) -> Split:
    """Return the split without one class; the labels above it move down by one."""
    import numpy as np

    label = split.class_names.index(class_name)
    kept = split.take(np.flatnonzero(split.labels != label))
    return Split(
        keys=kept.keys,
        labels=kept.labels - (kept.labels > label),
        class_names=[name for name in split.class_names if name != class_name],
        images=kept.images,
        preparation=kept.preparation,
        rows=kept.rows,
        names=kept.names,
    )
