"""parquet files as of imagenet-1k: columns image (with bytes) and label, train-*.parquet and validation-*.parquet, or train/*.parquet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.sources import Source, SourceImage, part_of
from harness.data.sources._tree import files_near, stat_line
from harness.errors import UserError

ROWS = 32  # read at once: full-size photographs, about 100 kB each


class ParquetFiles:
    """Labels are class indices already (of imagenet-1k: in order of the sorted WordNet ids); rows of label -1 have none and are passed over.

    Raises UserError when a file is damaged or lacks a column.
    """

    layout = "parquet"

    def __init__(self, path: Path, files: list[Path]) -> None:
        self.path, self._files = path, files
        self.fingerprint = hashlib.sha256("\n".join(map(stat_line, files)).encode()).hexdigest()[
            :16
        ]
        self._labels = {
            file: self._open(file).read(["label"])["label"].cast("int64").fill_null(-1).to_numpy()
            for file in files
        }
        everything = np.concatenate(list(self._labels.values()))
        classes = int(everything.max(initial=-1)) + 1
        named = (_class_names(self._open(file).schema_arrow.metadata or {}) for file in files)
        self.class_names = next(filter(None, named), tuple(str(i) for i in range(classes)))
        if classes > len(self.class_names):
            raise UserError(
                f"{path}: label {classes - 1} has no name; the files name {len(self.class_names)} classes"
            )
        self._count = int((everything >= 0).sum())
        unlabeled = len(everything) - self._count
        self.dataset_notes: tuple[str, ...] = (
            (f"{unlabeled} images without labels are passed over",) if unlabeled else ()
        )

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[SourceImage]:
        for file in self._files:
            rows = _Rows(self._open(file))
            stem = file.relative_to(self.path).as_posix() if self.path.is_dir() else file.name
            part = part_of(stem.removesuffix(file.suffix))
            for row, label in enumerate(self._labels[file].tolist()):
                if label >= 0:
                    yield SourceImage(part, f"{stem}:{row}", label, partial(_read, file, rows, row))

    def _open(self, file: Path) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            opened = pq.ParquetFile(file, memory_map=True)
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{file} is damaged: {error}; copy or download it again") from error
        if missing := {"image", "label"} - set(opened.schema_arrow.names):
            raise UserError(
                f"{file} has no column {min(missing)}; expected image (struct with bytes) and label"
            )
        if not pa.types.is_integer(kind := opened.schema_arrow.field("label").type):
            raise UserError(
                f"{file}: label is of type {kind}; expected integers, as imagenet-1k has them"
            )
        return opened


def _read(file: Path, rows: _Rows, row: int) -> bytes:
    import pyarrow as pa

    try:
        return rows.read(row)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(
            f"{file} is damaged at row {row}: {error}; copy or download it again"
        ) from error


class _Rows:
    """The image bytes of a file, row by row; going forward reads each row once, and what lies before the first wanted group never."""

    def __init__(self, file: Any) -> None:
        self._file = file
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        self._starts = np.cumsum([0, *sizes])
        self._group, self._next = -1, 0  # the row group being read, the first row not read yet
        self._batches: Iterator[Any] = iter(())
        self._batch: Any = ()

    def read(self, row: int) -> bytes:
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        if group != self._group:
            self._group, self._next = group, int(self._starts[group])
            self._batches = self._file.iter_batches(
                batch_size=ROWS, row_groups=[group], columns=["image"]
            )
        while row >= self._next:
            self._batch = next(self._batches)["image"]
            self._next += len(self._batch)
        image = self._batch[row - self._next + len(self._batch)].as_py()
        return (
            image["bytes"] if isinstance(image, dict) else image
        ) or b""  # null: an image without bytes


def _class_names(metadata: dict[bytes, bytes]) -> tuple[str, ...]:
    """The names that Hugging Face's `datasets` writes into the schema, in label order."""
    features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return tuple(features.get("label", {}).get("names", ()))


def open_source(path: Path) -> Source | None:
    if path.is_file():
        return ParquetFiles(path, [path]) if path.suffix == ".parquet" else None
    files = files_near(path, ".parquet")
    return ParquetFiles(path, files) if files else None
