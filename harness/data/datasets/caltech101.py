"""Caltech-101: 9,144 photographs, 101 kinds of object and a background class (Fei-Fei et al. 2004); a few of each class train."""

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
    """`train_per_class` images of each class, and at most `test_per_class` of its others (0: all of them), drawn by `split_seed`.

    path        the folder or archive 101_ObjectCategories; default: `caltech101` in the data root
    background  whether BACKGROUND_Google is a class (102 in all); papers differ
    The draw depends on seed and content alone. Published figures are means over the classes: compare `mean_class_error`.
    Raises UserError when the images are not there, or some class is too small.
    """
    import numpy as np

    from harness.data.prepare import prepare
    from harness.data.sources import WHOLE, open_source
    from harness.data.splitting import members_by_class
    from harness.progress import progress

    store = prepare(
        open_source(_find(Path(path).expanduser() if path else root / "caltech101")),
        root,
        size=size,
        progress=progress,
    )
    if store.parts != [WHOLE]:
        raise UserError(
            f"caltech101: {store.facts['source']} has the parts {', '.join(store.parts)}; expected class folders alone, as in {ARCHIVE}"
        )
    whole = store.split(WHOLE)
    if not background and BACKGROUND in whole.class_names:
        whole = _without(whole, BACKGROUND)
    train: list[int] = []
    test: list[int] = []
    for label, members in members_by_class(whole, split_seed):
        if len(members) <= train_per_class:
            raise UserError(
                f"caltech101: train_per_class={train_per_class} leaves nothing to test of class {whole.class_names[label]!r}, "
                f"which has {len(members)} images; the smallest class allows at most {len(members) - 1}"
            )
        train += members[:train_per_class]
        test += members[
            train_per_class : train_per_class + test_per_class if test_per_class else None
        ]
    chosen = np.sort(train)
    return Dataset(
        title="caltech101",
        train=whole.take(chosen[whole.rows[chosen] >= 0]),  # what cannot be decoded teaches nothing
        test=whole.take(np.sort(test)),
        dataset_notes=(
            f"{whole.num_classes} classes, {train_per_class} training and "
            f"{f'at most {test_per_class}' if test_per_class else 'all other'} test images each (split {split_seed}); "
            f"papers give the mean over classes: read mean_class_error",
        ),
    )


def _find(place: Path) -> Path:
    for candidate in (place / ARCHIVE, place / ARCHIVE.partition(".")[0], place):
        if candidate.is_file() or (candidate.is_dir() and (candidate / "accordion").is_dir()):
            return candidate
    raise UserError(
        f"Caltech-101 is not in {place}: put {ARCHIVE} there (inside caltech-101.zip, from {PAGE}), or give path="
    )


def _without(split: Split, class_name: str) -> Split:
    """The split without one class; the labels behind it move down."""
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
