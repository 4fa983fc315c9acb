"""The stage cache: what is a hit, what it saves, what is deleted."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.engine.cache import Cache
from harness.files import load_arrays, save_arrays


def make() -> dict[str, torch.Tensor]:
    time.sleep(0.05)
    return {"x": torch.arange(6).reshape(2, 3)}


def refuse() -> dict[str, torch.Tensor]:
    raise AssertionError("made again")


def test_a_hit_returns_the_same_arrays_and_counts_the_time_saved(workdir: Path) -> None:
    started = time.perf_counter()
    first = Cache(workdir, "source")({"stage": "hog", "cell": 4}, make)
    making = time.perf_counter() - started
    cache = Cache(workdir, "source")
    assert torch.equal(cache({"cell": 4, "stage": "hog"}, refuse)["x"], first["x"])
    assert 0 < cache.saved.seconds <= making


def test_processor_time_is_counted_apart_from_waiting(workdir: Path) -> None:
    def work() -> dict[str, torch.Tensor]:
        ends = time.process_time() + 0.1
        while time.process_time() < ends:
            pass
        return {"x": torch.zeros(1)}

    Cache(workdir, "source")({"stage": "work"}, work)
    Cache(workdir, "source")({"stage": "wait"}, make)
    worked, waited = Cache(workdir, "source"), Cache(workdir, "source")
    worked({"stage": "work"}, refuse), waited({"stage": "wait"}, refuse)
    assert 0.05 < worked.saved.cpu_seconds < 0.2
    assert waited.saved.cpu_seconds < 0.03 < waited.saved.seconds


def test_an_entry_without_processor_time_makes_the_saving_unknown_rather_than_zero(
    workdir: Path,
) -> None:
    Cache(workdir, "source")({"stage": "hog"}, make)
    (file,) = workdir.glob("*.safetensors")
    arrays, header = load_arrays(file)
    del header["cpu_seconds"]
    save_arrays(file, arrays, header)
    cache = Cache(workdir, "source")
    cache({"stage": "hog"}, refuse)
    assert cache.saved.seconds > 0
    assert math.isnan(cache.saved.cpu_seconds)


def test_a_saving_is_counted_once_and_not_for_stages_made_in_this_process(workdir: Path) -> None:
    first, started = Cache(workdir, "source"), time.perf_counter()
    for _ in range(2):
        first({"stage": "hog"}, make)
    making = time.perf_counter() - started
    assert first.saved.seconds == 0
    second = Cache(workdir, "source")
    for _ in range(3):
        second({"stage": "hog"}, refuse)
    assert 0 < second.saved.seconds <= making


@pytest.mark.parametrize(
    ("source", "key"), [("changed", {"stage": "hog"}), ("source", {"stage": "hog", "cell": 4})]
)
def test_another_source_or_key_is_a_miss(
    workdir: Path, source: str, key: dict[str, object]
) -> None:
    Cache(workdir, "source")({"stage": "hog"}, make)
    with pytest.raises(AssertionError, match="made again"):
        Cache(workdir, source)(key, refuse)


def test_the_oldest_entries_are_deleted_above_the_limit(workdir: Path) -> None:
    for cell in range(5):
        Cache(workdir, "source", limit=1000)({"cell": cell}, make)
        time.sleep(0.01)
    assert sum(file.stat().st_size for file in workdir.glob("*.safetensors")) <= 1000
    Cache(workdir, "source", limit=1000)({"cell": 4}, refuse)


def test_entries_that_a_run_has_used_are_kept_whatever_the_limit(workdir: Path) -> None:
    Cache(workdir, "source")({"cell": "of an earlier run"}, make)
    cache = Cache(workdir, "source", limit=1000)
    for cell in range(5):
        cache({"cell": cell}, make)
    for cell in range(5):
        cache({"cell": cell}, refuse)
    with pytest.raises(AssertionError, match="made again"):
        cache({"cell": "of an earlier run"}, refuse)


def test_a_folder_that_cannot_be_written_costs_only_the_saving(workdir: Path) -> None:
    (workdir / "file").touch()
    assert Cache(workdir / "file" / "cache", "source")({"stage": "hog"}, make)["x"].shape == (2, 3)


@pytest.mark.parametrize("damage", [b"", b"12345678 is no header"])
def test_a_damaged_file_is_made_again(workdir: Path, damage: bytes) -> None:
    """A process may be killed while it writes an entry that another one has evicted."""
    Cache(workdir, "source")({"stage": "hog"}, make)
    (file,) = workdir.glob("*.safetensors")
    file.write_bytes(damage)
    assert Cache(workdir, "source")({"stage": "hog"}, make)["x"].shape == (2, 3)
    Cache(workdir, "source")({"stage": "hog"}, refuse)


def test_a_file_of_another_user_is_a_hit(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Cache(workdir, "source")({"stage": "hog"}, make)

    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refused)
    Cache(workdir, "source")({"stage": "hog"}, refuse)


def test_temporary_files_of_a_killed_process_are_deleted_after_a_day(workdir: Path) -> None:
    abandoned, fresh = workdir / ".abc.safetensors.0a1b2c3d", workdir / ".def.safetensors.0a1b2c3d"
    abandoned.touch()
    fresh.touch()
    os.utime(abandoned, (0, 0))
    Cache(workdir, "source")({"stage": "hog"}, make)
    assert (abandoned.exists(), fresh.exists()) == (False, True)


def test_entries_that_another_living_run_has_used_are_kept(workdir: Path) -> None:
    """Neither of two runs on one data root, above the limit, deletes what the other reads."""
    first, second = Cache(workdir, "first", limit=1000), Cache(workdir, "second", limit=1000)
    for cell in range(5):
        first({"cell": cell}, make)
        second({"cell": cell}, make)
    for cell in range(5):
        first({"cell": cell}, refuse)
        second({"cell": cell}, refuse)
    del first
    Cache(workdir, "third", limit=1000)({"cell": 0}, make)
    with pytest.raises(AssertionError, match="made again"):
        Cache(workdir, "first", limit=1000)({"cell": 0}, refuse)
    second({"cell": 0}, refuse)


Disk = namedtuple("Disk", "total used free")


def test_without_a_limit_the_cache_takes_half_of_the_disk_that_is_free_without_it(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def usage(_: Path) -> Disk:
        used = sum(file.stat().st_size for file in workdir.glob("*.safetensors"))
        return Disk(total=100_000, used=used, free=10_000 - used)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    for cell in range(40):
        Cache(workdir, "source")({"cell": cell}, make)
    size = sum(file.stat().st_size for file in workdir.glob("*.safetensors"))
    assert 4000 < size <= 5000 + 400  # one entry


def test_an_almost_full_disk_is_left_to_the_records(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(10**9, 0, 10**7))
    assert Cache(workdir, "source")({"cell": 0}, make)["x"].shape == (2, 3)
    assert not list(workdir.glob("*.safetensors"))


def test_the_folder_is_looked_through_ever_less_often(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above its limit too, so that many entries do not take quadratic time."""
    looked, evict = [], Cache._evict

    def count(cache: Cache) -> None:
        looked.append(len(list(workdir.glob("*.safetensors"))))
        evict(cache)

    monkeypatch.setattr(Cache, "_evict", count)
    cache = Cache(workdir, "source", limit=10)
    for cell in range(600):
        cache({"cell": cell}, lambda: {"x": torch.zeros(1000)})
    gaps = np.diff(looked)
    assert gaps[:20].max() == 1
    assert gaps[-3:].min() >= 8
