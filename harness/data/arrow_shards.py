"""The shards of a prepared dataset: Arrow IPC files of up to ROWS_PER_SHARD images each.

Columns: key, label, name, height, width, image. A row that could not be decoded has height 0 and
no bytes. A small JSON file beside the shard marks it as complete. Arrow was chosen because any
Arrow reader opens the files and because reading one image by memory map copies nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness.files import write_json

ROWS_PER_SHARD = 1024  # about 50 MB of JPEG
# The writer holds one record batch in memory: at most 17 MB of raw 256-pixel images.
ROWS_PER_BATCH = 64
# A batch of large images ends earlier, because its offsets have 32 bits.
MAX_BATCH_BYTES = 2**26


class Row(NamedTuple):
    """One image as it is written."""

    key: str
    label: int
    name: str
    height: int  # 0 if it could not be decoded
    width: int
    image: bytes


@dataclass(frozen=True)
class ShardSummary:
    """What the JSON file beside a complete shard holds.

    Attributes
    ----------
    rows : int
    sha256 : str
        Of the Arrow file.
    undecodable : list of (name, reason)
    unusual : list of (name, description)
        Images that were decoded but are unusual.
    """

    rows: int
    sha256: str
    undecodable: list[tuple[str, str]] = field(default_factory=list)
    unusual: list[tuple[str, str]] = field(default_factory=list)


def shard_schema(preparation: str) -> Any:
    """Return the Arrow schema of a shard, with the preparation line as metadata."""
    import pyarrow as pa

    columns = [
        ("key", pa.string()),
        ("label", pa.int64()),
        ("name", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("image", pa.binary()),
    ]
    return pa.schema(columns, metadata={"preparation": preparation})


class ShardWriter(AbstractContextManager["ShardWriter"]):
    """Writes one shard, which appears at `path` only when `finish` has written it to the disk.

    Parameters
    ----------
    path : Path
    preparation : str
        The line that says how pixels were made from source bytes.

    Attributes
    ----------
    undecodable, unusual : list of (name, text)
        Filled by the caller before `finish`.
    """

    def __init__(self, path: Path, preparation: str) -> None:
        import pyarrow as pa

        self.path, self.rows = path, 0
        self.undecodable: list[tuple[str, str]] = []
        self.unusual: list[tuple[str, str]] = []
        self._schema = shard_schema(preparation)
        self._temporary = path.with_name(f".{path.name}.part")
        self._file = self._temporary.open("wb")
        self._writer = pa.ipc.new_file(self._file, self._schema)
        self._pending: list[Row] = []
        self._pending_bytes = 0

    def add(self, row: Row) -> None:
        self._pending.append(row)
        self._pending_bytes += len(row.image)
        self.rows += 1
        if len(self._pending) == ROWS_PER_BATCH or self._pending_bytes >= MAX_BATCH_BYTES:
            self._write_batch()

    def finish(self) -> ShardSummary:
        """Write the shard to the disk, then its summary."""
        self._write_batch()
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        sha256 = file_checksum(self._temporary)
        summary = ShardSummary(self.rows, sha256, self.undecodable, self.unusual)
        self._temporary.replace(self.path)
        write_json(summary_file(self.path), asdict(summary))
        return summary

    def _write_batch(self) -> None:
        import pyarrow as pa

        if not self._pending:
            return
        *columns, images = zip(*self._pending, strict=True)
        arrays = [
            pa.array(column, field.type)
            for column, field in zip(columns, self._schema, strict=False)
        ]
        batch = pa.record_batch([*arrays, _binary_array(images)], schema=self._schema)
        self._writer.write_batch(batch)
        self._pending.clear()
        self._pending_bytes = 0

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def _binary_array(values: Sequence[bytes]) -> Any:
    """Make an Arrow array of bytes.

    `pa.array` grows its buffer step by step while it blocks the decoding threads, for many times
    as long.
    """
    import pyarrow as pa

    offsets = pa.py_buffer(np.cumsum([0, *map(len, values)], dtype=np.int32))
    buffers = [None, offsets, pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(pa.binary(), len(values), buffers)


def file_checksum(path: Path) -> str:
    """Return the SHA-256 of a file, as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def summary_file(shard: Path) -> Path:
    return shard.with_suffix(".json")


def read_summary(shard: Path) -> ShardSummary | None:
    """Read the summary of a shard; None if the shard is not complete."""
    try:
        summary = json.loads(summary_file(shard).read_bytes())
        return ShardSummary(
            rows=summary["rows"],
            sha256=summary["sha256"],
            undecodable=[(name, reason) for name, reason in summary["undecodable"]],
            unusual=[(name, description) for name, description in summary["unusual"]],
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # missing, or damaged
        return None


class DamagedShard(Exception):
    """A file is missing or is no shard; the message names it and says why."""


def read_table(shard: Path) -> Any:
    """Open a shard as a memory-mapped Arrow table. Raises DamagedShard."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(shard)) as file:
            table = pa.ipc.open_file(file).read_all()
        if not table.schema.equals(shard_schema("")):
            raise DamagedShard(f"{shard.name}: other columns than those of a shard")
        # of images, only their positions are read here
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        reason, _, _ = str(error).partition("\n")
        raise DamagedShard(f"{shard.name}: {reason}") from error
    return table


def read_columns(shard: Path, names: list[str]) -> Any:
    """Copy some columns of a shard into memory, as an Arrow table. Raises DamagedShard.

    Without the copy, the mapped pages and 64 kB around each would stay resident.
    """
    return read_table(shard).select(names).combine_chunks()


def replace_keys(shard: Path, keys: np.ndarray) -> ShardSummary:
    """Rewrite a shard with other keys, unless it has them already.

    If the process is killed meanwhile, the shard counts as incomplete.
    """
    import pyarrow as pa

    summary, table = read_summary(shard), read_table(shard)
    assert summary
    if table["key"].to_pylist() == keys.tolist():
        return summary
    summary_file(shard).unlink()
    with ShardWriter(shard, table.schema.metadata[b"preparation"].decode()) as writer:
        writer.undecodable, writer.unusual = summary.undecodable, summary.unusual
        for row in _rows(table.set_column(0, "key", pa.array(keys.tolist(), pa.string()))):
            writer.add(row)
        return writer.finish()


def _rows(table: Any) -> Iterator[Row]:
    for batch in table.to_batches(max_chunksize=ROWS_PER_BATCH):
        columns = [column.to_pylist() for column in batch.columns]
        yield from (Row(*values) for values in zip(*columns, strict=True))
