"""A reader sees a whole file or none, and may read it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import torch

from harness.files import arrays_bytes, load_arrays, save_arrays, write_atomic, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, 1)

    def fail(file: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"a\.json"):
        write_atomic(path, fail)
    assert path.read_text() == "1\n"
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_others_may_read_a_file_as_far_as_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_json(tmp_path / "a.json", 1)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o644


def test_arrays_of_any_layout_and_their_metadata_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    base = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    arrays = {"transposed": base.T, "shared": base, "counts": torch.tensor([1, 2])}
    save_arrays(path, arrays, {"epoch": "3"})
    loaded, metadata = load_arrays(path)
    assert metadata == {"epoch": "3"}
    assert set(loaded) == set(arrays)
    for name, array in arrays.items():
        assert torch.equal(loaded[name], array)
    assert arrays_bytes(path) == 2 * 6 * 4 + 2 * 8


def test_a_missing_file_of_arrays_has_no_size(tmp_path: Path) -> None:
    assert arrays_bytes(tmp_path / "none.safetensors") is None
