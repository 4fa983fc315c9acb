"""parquet files like imagenet-1k's: columns image (with bytes) and label; train-*.parquet and
validation-*.parquet, or train/*.parquet.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.sources import Source, SourceImage, check_label_count, part_of
from harness.data.sources._file_tree import files_near, part_files, stat_line
from harness.errors import UserError

ROWS_AT_ONCE = 32  # full-size photographs of about 100 kB each


class ParquetFiles:
    """The rows of parquet files.

    Labels are class indices (of imagenet-1k: in order of the sorted WordNet ids). Rows with label
    -1 have none and are ignored.

    Raises
    ------
    UserError
        If a file is damaged or lacks a column.
    """

    layout = "parquet"

    def __init__(self, path: Path, files: list[Path]) -> None:
        self.path, self._files = path, files
        self.part_folders: Mapping[str, str] = part_files(
            files, lambda file: part_of(self._stem(file))
        )
        lines = "\n".join(map(stat_line, files))
        self.fingerprint = hashlib.sha256(lines.encode()).hexdigest()[:16]
        self._labels = {file: _read_labels(file) for file in files}
        labels = np.concatenate(list(self._labels.values()))
        self._count = int((labels >= 0).sum())
        self.class_names = _class_names(path, files, int(labels.max(initial=-1)) + 1, self._count)
        unlabeled = len(labels) - self._count
        self.dataset_notes: tuple[str, ...] = ()
        if unlabeled:
            self.dataset_notes = (f"{unlabeled:,} images without labels are ignored",)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[SourceImage]:
        for file in self._files:
            rows = _RowReader(_open_parquet(file))
            stem = self._stem(file)
            part = part_of(stem)
            for row, label in enumerate(self._labels[file].tolist()):
                if label >= 0:
                    read = partial(_read_row, file, rows, row)
                    yield SourceImage(part, f"{stem}{file.suffix}:{row}", label, read)

    def _stem(self, file: Path) -> str:
        name = file.relative_to(self.path).as_posix() if self.path.is_dir() else file.name
        return name.removesuffix(file.suffix)


def _class_names(path: Path, files: list[Path], classes: int, images: int) -> tuple[str, ...]:
    """Return the names that the files declare for their labels, else the numbers as names."""
    declared = {file: _declared_class_names(file) for file in files}
    named = {file: names for file, names in declared.items() if names}
    if not named:
        check_label_count(path, classes, images)
        return tuple(str(i) for i in range(classes))
    first, names = next(iter(named.items()))
    if different := next((file for file in named if named[file] != names), None):
        raise UserError(
            f"{first} and {different.name} name the classes differently, so that a label means "
            "two things; use files of one dataset"
        )
    if classes > len(names):
        raise UserError(
            f"{path}: label {classes - 1} has no name; the files name {len(names)} classes"
        )
    return names


def _read_labels(file: Path) -> np.ndarray:
    with _damage(file):
        column = _open_parquet(file).read(["label"])["label"]
        return column.cast("int64").fill_null(-1).to_numpy()


@contextmanager
def _damage(file: Path, where: str = "") -> Iterator[None]:
    """Turn what pyarrow raises about a damaged file into a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of many types, for memory that a damaged header asks for as well
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"{file} is damaged{where}: {reason}; copy or download it again") from error


def _open_parquet(file: Path) -> Any:
    """Open a file; raise UserError if it is damaged or its columns are not as expected."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _damage(file):
        opened = pq.ParquetFile(file, memory_map=True)
        schema = opened.schema_arrow
    columns = [name for name in schema.names if name in ("image", "label")]
    if missing := {"image", "label"} - set(columns):
        raise UserError(
            f"{file} has no column {min(missing)}; expected image (struct with bytes) and label"
        )
    if len(columns) > 2:
        raise UserError(f"{file} has a column image or label twice; expected each of them once")
    if not pa.types.is_integer(kind := schema.field("label").type):
        raise UserError(f"{file}: label is of type {kind}; expected integers, as in imagenet-1k")
    kind = content = schema.field("image").type
    if pa.types.is_struct(kind):
        content = kind.field("bytes").type if kind.get_field_index("bytes") >= 0 else pa.null()
    if not (pa.types.is_binary(content) or pa.types.is_large_binary(content)):
        raise UserError(f"{file}: image is of type {kind}; expected binary, or a struct with bytes")
    return opened


def _read_row(file: Path, rows: _RowReader, row: int) -> bytes:
    with _damage(file, f" at row {row}"):
        return rows.read(row)


class _RowReader:
    """Reads the image bytes of a file row by row.

    In ascending order, each row is read once; row groups before the first requested row are
    skipped.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        metadata = file.metadata
        sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        self._group_starts = np.cumsum([0, *sizes])
        self._group = -1  # the row group that is being read
        self._next_row = 0  # the first row that is not read yet
        self._batches: Iterator[Any] = iter(())
        self._batch: Any = ()

    def read(self, row: int) -> bytes:
        """Return the bytes of a row; none for a null image."""
        group = int(np.searchsorted(self._group_starts, row, side="right")) - 1
        if group != self._group:
            self._group, self._next_row = group, int(self._group_starts[group])
            self._batches = self._file.iter_batches(
                batch_size=ROWS_AT_ONCE, row_groups=[group], columns=["image"]
            )
        while row >= self._next_row:
            self._batch = next(self._batches)["image"]
            self._next_row += len(self._batch)
        image = self._batch[row - self._next_row + len(self._batch)].as_py()
        content = image["bytes"] if isinstance(image, dict) else image
        return content or b""


def _declared_class_names(file: Path) -> tuple[str, ...]:
    """Return the class names that Hugging Face's `datasets` writes into the schema, if any."""
    metadata = _open_parquet(file).schema_arrow.metadata or {}
    try:
        declared = json.loads(metadata.get(b"huggingface", b"{}"))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{file}: its metadata 'huggingface' is no JSON ({error}); write the file again"
        ) from error
    for key in ("info", "features", "label", "names"):
        declared = declared.get(key) if isinstance(declared, dict) else None
    if declared is None:
        return ()
    is_list = isinstance(declared, list) and all(isinstance(name, str) for name in declared)
    if not is_list or len(set(declared)) < len(declared):
        raise UserError(
            f"{file}: its metadata 'huggingface' should name each class once, in a list of texts"
        )
    return tuple(declared)


def open_source(path: Path) -> Source | None:
    if path.is_file():
        return ParquetFiles(path, [path]) if path.suffix == ".parquet" else None
    files = files_near(path, ".parquet")
    return ParquetFiles(path, files) if files else None
