"""Shards appear complete or not at all."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np

from harness.data.arrow_shards import (
    ROWS_PER_BATCH,
    Row,
    ShardWriter,
    file_checksum,
    read_summary,
    read_table,
    replace_keys,
)

ROWS = [
    Row(f"{i:016x}", i % 3, f"{i}.png", height=1, width=2, image=bytes([i] * 6)) for i in range(100)
]


def write_shard(path: Path) -> Path:
    with ShardWriter(path, "size=1") as writer:
        for row in ROWS:
            writer.add(row)
        writer.undecodable.append(("bad.png", "the file is empty"))
        writer.unusual.append(("7.png", "CMYK"))
        writer.finish()
    return path


def test_rows_are_read_as_they_were_written(workdir: Path) -> None:
    table = read_table(write_shard(workdir / "train-00000.arrow"))
    assert [Row(*row.values()) for row in table.to_pylist()] == ROWS
    assert [len(batch) for batch in table.to_batches()] == [ROWS_PER_BATCH, 100 - ROWS_PER_BATCH]


def test_the_summary_describes_the_shard(workdir: Path) -> None:
    shard = write_shard(workdir / "train-00000.arrow")
    summary = read_summary(shard)
    assert summary
    assert (summary.rows, summary.sha256) == (100, file_checksum(shard))
    assert summary.undecodable == [("bad.png", "the file is empty")]
    assert summary.unusual == [("7.png", "CMYK")]


def test_an_error_leaves_no_file(workdir: Path) -> None:
    shard = workdir / "train-00000.arrow"
    with suppress(RuntimeError), ShardWriter(shard, "size=1") as writer:
        writer.add(ROWS[0])
        raise RuntimeError
    assert read_summary(shard) is None
    assert list(workdir.iterdir()) == []


def test_keys_are_replaced_and_all_else_is_kept(workdir: Path) -> None:
    shard = write_shard(workdir / "train-00000.arrow")
    keys = np.array([f"{row.key}-1" for row in ROWS])
    summary = replace_keys(shard, keys)
    assert summary == read_summary(shard)
    assert summary.unusual == [("7.png", "CMYK")]
    expected = [row._replace(key=f"{row.key}-1") for row in ROWS]
    assert [Row(*row.values()) for row in read_table(shard).to_pylist()] == expected
    before = shard.stat().st_mtime_ns
    assert replace_keys(shard, keys) == summary
    assert shard.stat().st_mtime_ns == before
