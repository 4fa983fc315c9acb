"""Wall-clock times of competing implementations, taken in turns so that all see the same load."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that one call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def alternated_medians(*sides: Callable[[], object], rounds: int) -> list[float]:
    """Return the median seconds of each side over `rounds` rounds in which the sides take turns.

    One more round before these warms up and is not counted.
    """
    seconds: list[list[float]] = [[] for _ in sides]
    for number in range(rounds + 1):
        for side, seconds_of_side in zip(sides, seconds, strict=True):
            elapsed = timed(side)
            if number:
                seconds_of_side.append(elapsed)
    return [statistics.median(seconds_of_side) for seconds_of_side in seconds]


def median_ratio(numerators: list[float], denominators: list[float]) -> float:
    """Return the median of the ratios of rounds, which cancels slow drifts of the load."""
    return statistics.median(a / b for a, b in zip(numerators, denominators, strict=True))
