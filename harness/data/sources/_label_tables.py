"""Labels in CSV tables beside folders of images without classes: as of Kaggle and Roboflow."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from harness.data.class_names import look_alike_notes, normalize
from harness.data.decode import is_system_file
from harness.data.sources import UNSPLIT, part_of
from harness.data.sources._file_tree import FileTree
from harness.data.sources._image_folders import Folder, image_folders
from harness.data.sources._layout import Layout
from harness.errors import UserError

MAX_TABLES = 20
LABEL_COLUMNS = frozenset(
    (
        "label", "labels", "class", "class_name", "classname", "class_label", "category", "breed",
        "species", "target", "diagnosis", "dx",
    )
)  # fmt: skip


@dataclass
class _Table:
    """The labels of the images of one folder.

    Attributes
    ----------
    file : str
    folder : Folder
    column : str
        Where the labels are from.
    labels : dict of str
        By image, without those that have no label or several.
    missing : int
        Rows without an image.
    """

    file: str
    folder: Folder
    column: str
    labels: dict[str, str]
    missing: int


def read_label_tables(tree: FileTree, images: Sequence[str]) -> Layout | None:
    """Return the classes that CSV tables give, or None if there are class folders or no such table.

    A table has a header, a column with the names of the images of one folder, with or without
    suffix, and either one column of labels or a column of 0 and 1 per class.

    Raises
    ------
    UserError
        If a table is damaged, or its labels are measurements or ids.
    """
    folders = [folder for folder in image_folders(images).walk() if folder.images]
    if len(folders) > 1 and any(part_of(folder.name) == UNSPLIT for folder in folders):
        return None
    files = [name for name in tree.names if _may_be_table(name)][:MAX_TABLES]
    if not files or not folders:
        return None
    texts = tree.read_texts(files)
    read = (_read_table(tree, file, texts[file], folders, images) for file in files)
    tables = [table for table in read if table]
    return _merge(tables, images) if tables else None


def _may_be_table(name: str) -> bool:
    path = PurePosixPath(name)
    is_table = path.suffix.lower() in (".csv", ".tsv") and not is_system_file(name)
    return is_table and "submission" not in path.stem.lower()


def _rows(tree: FileTree, file: str, text: str) -> list[list[str]]:
    lines = text.splitlines()
    head = lines[0] if lines else ""
    delimiter = max(",;\t", key=head.count)
    try:
        reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
        return [[cell.strip() for cell in row] for row in reader if row]
    except csv.Error as error:
        raise UserError(f"{file} in {tree.path} is no table: {error}") from error


def _read_table(
    tree: FileTree, file: str, text: str, folders: Sequence[Folder], images: Sequence[str]
) -> _Table | None:
    head, *rows = _rows(tree, file, text) or [[]]
    rows = [row for row in rows if len(row) == len(head)]
    if len(head) < 2 or not rows:
        return None
    found = _find_images(file, rows, folders, images)
    if found is None:
        return None
    folder, id_column, image_of = found
    classes = [i for i in range(len(head)) if i != id_column]
    label_columns = [i for i in classes if head[i].lower().replace(" ", "_") in LABEL_COLUMNS]
    if len(classes) == 1:
        label_columns = classes
    labels = {}
    if len(label_columns) == 1:
        (column,) = label_columns
        labels = {row[id_column]: row[column] for row in rows if row[column]}
        _check_labels(f"{file} in {tree.path}", head[column], labels.values())
        title = f"column {head[column]}"
    elif all(row[i] in ("0", "1", "0.0", "1.0") for row in rows for i in classes):
        title = f"{len(classes)} columns of 0 and 1"
        for row in rows:
            marked = [head[i] for i in classes if float(row[i])]
            if len(marked) == 1:
                labels[row[id_column]] = marked[0]
    else:
        return None
    known = {image_of[key]: normalize(label) for key, label in labels.items() if key in image_of}
    missing = sum(row[id_column] not in image_of for row in rows)
    return _Table(file, folder, title, known, missing)


def _find_images(
    file: str, rows: Sequence[Sequence[str]], folders: Sequence[Folder], images: Sequence[str]
) -> tuple[Folder, int, dict[str, str]] | None:
    """Return the folder whose images most rows name, the column that does, and images by cell."""
    best: tuple[tuple[bool, int, bool], Folder, int, dict[str, str]] | None = None
    for folder in folders:
        image_of: dict[str, str] = {}
        for name in images:
            if name.rpartition("/")[0] == folder.path:
                base = PurePosixPath(name)
                with_folder = f"{folder.name}/{base.name}"
                image_of |= {base.stem: name, base.name: name, with_folder: name, name: name}
        for column in range(len(rows[0])):
            count = sum(row[column] in image_of for row in rows)
            beside = file.rpartition("/")[0] == folder.path
            part = part_of(PurePosixPath(file).stem)
            fits = part_of(folder.name) == ("train" if part == UNSPLIT else part)
            rank = (beside and 2 * count > len(rows), count, fits)
            if 2 * count > len(rows) and (best is None or rank > best[0]):
                best = (rank, folder, column, image_of)
    return best and best[1:]


def _check_labels(table: str, column: str, labels: Iterable[str]) -> None:
    """Raise UserError for a column that does not tell classes."""
    values = list(labels)
    distinct = set(values)
    reason = ""
    if len(distinct) == len(values) > 2:
        reason = f"a different value for each of {len(values):,} images"
    elif any(_is_fraction(value) for value in distinct):
        reason = "numbers with a fraction"
    if reason:
        raise UserError(
            f"{table}: column {column} has {reason}, which are no classes; give a table with one "
            "label per image, or class folders"
        )


def _is_fraction(text: str) -> bool:
    try:
        return not float(text).is_integer()
    except (ValueError, OverflowError):
        return False


def _merge(tables: Sequence[_Table], images: Sequence[str]) -> Layout:
    layout = Layout()
    for table in tables:
        part = part_of(table.folder.name)
        if part == UNSPLIT:
            part = part_of(PurePosixPath(table.file).stem)
        for name, label in table.labels.items():
            layout.images[name] = (part, label)
        where = f"{table.folder.path}/" if table.folder.path else "the folder"
        layout.part_folders[part] = where
        missing = f"; {table.missing:,} of its rows have no image" if table.missing else ""
        layout.notes.append(
            f"{table.file} ({table.column}) gives the classes of {len(table.labels):,} images of "
            f"{where}{missing}"
        )
    layout.notes += look_alike_notes({label for _, label in layout.images.values()})
    _note_unlabeled(layout, images, {table.folder.path for table in tables})
    return layout


def _note_unlabeled(layout: Layout, images: Sequence[str], read: set[str]) -> None:
    counts: dict[str, int] = {}
    for name in images:
        if name not in layout.images:
            folder = name.rpartition("/")[0]
            counts[folder] = counts.get(folder, 0) + 1
    for folder, count in sorted(counts.items()):
        layout.reported_folders.append(folder)
        reason = "no label, or several" if folder in read else "no labels"
        layout.notes.append(
            f"{count:,} images of {folder or '.'}/ have {reason} and are passed over"
        )
