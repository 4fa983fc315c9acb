"""One file of a store: up to ROWS images as an Arrow IPC file, with a small JSON beside it once it is whole.

Columns: key, label, name, height, width, image. A row that could not be decoded has height 0 and no bytes.
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

ROWS = 1024  # images a file: about 50 MB of JPEG
BATCH_BYTES = (
    2**26
)  # after which a batch is full with fewer: large images, and offsets within it have 32 bits
ROWS_A_BATCH = 64  # images a record batch, which is what writing holds in memory: at most 17 MB of raw 256-pixel images


class Row(NamedTuple):
    key: str
    label: int
    name: str
    height: int  # 0: could not be decoded
    width: int
    image: bytes


@dataclass(frozen=True)
class ShardFacts:
    """What is known of a whole shard; `undecodable` and `noted` are (name, why or what)."""

    rows: int
    sha256: str
    undecodable: list[tuple[str, str]] = field(default_factory=list)
    noted: list[tuple[str, str]] = field(default_factory=list)


def schema(preparation: str) -> Any:
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
    """Writes `path`; it is there, whole and on the disk, when `finish` returns. Left without `finish`, nothing is."""

    def __init__(self, path: Path, preparation: str) -> None:
        import pyarrow as pa

        self.path, self.rows = path, 0
        self.undecodable: list[tuple[str, str]] = []
        self.noted: list[tuple[str, str]] = []
        self._schema = schema(preparation)
        self._temporary = path.with_name(f".{path.name}.part")
        self._file = self._temporary.open("wb")
        self._writer = pa.ipc.new_file(self._file, self._schema)
        self._waiting: list[Row] = []
        self._waiting_bytes = 0

    def add(self, row: Row) -> None:
        self._waiting.append(row)
        self._waiting_bytes += len(row.image)
        self.rows += 1
        if len(self._waiting) == ROWS_A_BATCH or self._waiting_bytes >= BATCH_BYTES:
            self._flush()

    def finish(self) -> ShardFacts:
        self._flush()
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        facts = ShardFacts(self.rows, checksum(self._temporary), self.undecodable, self.noted)
        self._temporary.replace(self.path)
        write_json(facts_file(self.path), asdict(facts))
        return facts

    def _flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            *columns, images = zip(*self._waiting, strict=True)
            arrays = [
                pa.array(column, field.type)
                for column, field in zip(columns, self._schema, strict=False)
            ]
            self._writer.write_batch(
                pa.record_batch([*arrays, _binary(images)], schema=self._schema)
            )
            self._waiting.clear()
            self._waiting_bytes = 0

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def _binary(values: Sequence[bytes]) -> Any:
    """An Arrow column of them. `pa.array` grows its buffer as it goes, and keeps the threads that decode waiting for many times as long."""
    import pyarrow as pa

    ends = np.cumsum([0, *map(len, values)], dtype=np.int32)
    return pa.Array.from_buffers(
        pa.binary(), len(values), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(values))]
    )


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def facts_file(shard: Path) -> Path:
    return shard.with_suffix(".json")


def read_facts(shard: Path) -> ShardFacts | None:
    """None while the shard is not whole."""
    file = facts_file(shard)
    if not file.exists():
        return None
    facts = json.loads(file.read_text())
    pairs = {name: [(a, b) for a, b in facts[name]] for name in ("undecodable", "noted")}
    return ShardFacts(facts["rows"], facts["sha256"], **pairs)


def read_table(shard: Path) -> Any:
    """The shard as an Arrow table, memory-mapped."""
    import pyarrow as pa

    with pa.memory_map(str(shard)) as file:
        return pa.ipc.open_file(file).read_all()


def read_columns(shard: Path, names: list[str]) -> Any:
    """Some columns as an Arrow table in memory of its own: what is read of a mapped file, and 64 kB around it, would stay resident."""
    return read_table(shard).select(names).combine_chunks()


def renamed(shard: Path, keys: np.ndarray) -> ShardFacts:
    """Give the rows these keys, unless they have them. Safe to be killed in: the shard then counts as not whole."""
    import pyarrow as pa

    facts, table = read_facts(shard), read_table(shard)
    assert facts
    if table["key"].to_pylist() == keys.tolist():
        return facts
    facts_file(shard).unlink()
    with ShardWriter(shard, table.schema.metadata[b"preparation"].decode()) as writer:
        writer.undecodable, writer.noted = facts.undecodable, facts.noted
        for row in _rows(table.set_column(0, "key", pa.array(keys.tolist(), pa.string()))):
            writer.add(row)
        return writer.finish()


def _rows(table: Any) -> Iterator[Row]:
    for batch in table.to_batches(max_chunksize=ROWS_A_BATCH):
        yield from (
            Row(*values)
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True)
        )
