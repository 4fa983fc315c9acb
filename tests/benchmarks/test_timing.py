"""Rounds alternate, and the first one is not counted."""

from __future__ import annotations

import pytest

from benchmarks.timing import alternated_medians, median_ratio


def test_sides_alternate_and_the_first_round_warms_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls = [0.0], []

    def side(name: str, seconds: list[float]) -> None:
        calls.append(name)
        clock[0] += seconds.pop(0)

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    slow, fast = [90.0, 3.0, 9.0, 4.0], [80.0, 1.0, 2.0, 2.0]
    medians = alternated_medians(lambda: side("slow", slow), lambda: side("fast", fast), rounds=3)
    assert medians == [4.0, 2.0]
    assert calls == ["slow", "fast"] * 4


def test_the_ratio_is_the_median_over_rounds() -> None:
    assert median_ratio([2.0, 9.0, 8.0], [1.0, 3.0, 2.0]) == 3.0
