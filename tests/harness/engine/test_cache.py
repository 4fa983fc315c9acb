from __future__ import annotations

import math
import os
import time
from pathlib import Path

import pytest
import torch

from harness.engine.cache import Cache
from harness.files import load_arrays, save_arrays


def make() -> dict[str, torch.Tensor]:
    time.sleep(0.05)
    return {"x": torch.arange(6).reshape(2, 3)}


def refuse() -> dict[str, torch.Tensor]:
    raise AssertionError("made again")


def test_a_hit_gives_the_same_arrays_and_counts_the_time_it_saves(workdir: Path) -> None:
    first = Cache(workdir, "source")({"stage": "hog", "cell": 4}, make)
    cache = Cache(workdir, "source")
    assert torch.equal(cache({"cell": 4, "stage": "hog"}, refuse)["x"], first["x"])
    assert 0 < cache.saved.seconds <= 0.1


def test_processor_time_is_kept_apart_from_waiting(workdir: Path) -> None:
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


def test_what_was_kept_before_processor_time_was_counted_makes_it_unknown_and_not_nothing(
    workdir: Path,
) -> None:
    Cache(workdir, "source")({"stage": "hog"}, make)
    (file,) = workdir.glob("*.safetensors")
    arrays, facts = load_arrays(file)
    save_arrays(
        file, arrays, {name: value for name, value in facts.items() if name != "cpu_seconds"}
    )
    cache = Cache(workdir, "source")
    cache({"stage": "hog"}, refuse)
    assert cache.saved.seconds > 0
    assert math.isnan(cache.saved.cpu_seconds)


def test_time_is_saved_once_and_not_by_what_was_made_here(workdir: Path) -> None:
    first = Cache(workdir, "source")
    for _ in range(2):
        first({"stage": "hog"}, make)
    assert first.saved.seconds == 0
    second = Cache(workdir, "source")
    for _ in range(3):
        second({"stage": "hog"}, refuse)
    assert 0 < second.saved.seconds <= 0.1


@pytest.mark.parametrize(
    ("source", "key"), [("changed", {"stage": "hog"}), ("source", {"stage": "hog", "cell": 4})]
)
def test_another_source_or_key_is_a_miss(
    workdir: Path, source: str, key: dict[str, object]
) -> None:
    Cache(workdir, "source")({"stage": "hog"}, make)
    with pytest.raises(AssertionError, match="made again"):
        Cache(workdir, source)(key, refuse)


def test_the_oldest_go_when_the_limit_is_passed(workdir: Path) -> None:
    for cell in range(5):
        Cache(workdir, "source", limit=1000)({"cell": cell}, make)
        time.sleep(0.01)
    assert sum(file.stat().st_size for file in workdir.glob("*.safetensors")) <= 1000
    Cache(workdir, "source", limit=1000)({"cell": 4}, refuse)


def test_what_a_run_has_used_stays_for_it_whatever_the_limit(workdir: Path) -> None:
    Cache(workdir, "source")({"cell": "of an earlier run"}, make)
    cache = Cache(workdir, "source", limit=1000)
    for cell in range(5):
        cache({"cell": cell}, make)
    for cell in range(5):
        cache({"cell": cell}, refuse)
    with pytest.raises(AssertionError, match="made again"):
        cache({"cell": "of an earlier run"}, refuse)


def test_a_place_that_cannot_be_written_costs_nothing_but_the_saving(workdir: Path) -> None:
    (workdir / "file").touch()
    assert Cache(workdir / "file" / "cache", "source")({"stage": "hog"}, make)["x"].shape == (2, 3)


@pytest.mark.parametrize("damage", [b"", b"12345678 is no header"])
def test_a_damaged_file_is_made_again(workdir: Path, damage: bytes) -> None:
    """As where another process evicted it and a kill fell into writing it anew."""
    Cache(workdir, "source")({"stage": "hog"}, make)
    (file,) = workdir.glob("*.safetensors")
    file.write_bytes(damage)
    assert Cache(workdir, "source")({"stage": "hog"}, make)["x"].shape == (2, 3)
    Cache(workdir, "source")({"stage": "hog"}, refuse)


def test_another_users_file_is_a_hit(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Cache(workdir, "source")({"stage": "hog"}, make)

    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refused)
    Cache(workdir, "source")({"stage": "hog"}, refuse)


def test_what_a_killed_process_was_writing_goes_after_a_day(workdir: Path) -> None:
    left, fresh = workdir / ".abc.safetensors.0a1b2c3d", workdir / ".def.safetensors.0a1b2c3d"
    left.touch()
    fresh.touch()
    os.utime(left, (0, 0))
    Cache(workdir, "source")({"stage": "hog"}, make)
    assert (left.exists(), fresh.exists()) == (False, True)
