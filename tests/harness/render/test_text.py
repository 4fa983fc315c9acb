"""Quantities as plain text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from harness.render.text import age, duration, interval, p_value, percent, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.24, "4.2 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(2_500, "2.5 kB"), (4.1e6, "4.1 MB"), (3.25e9, "3.2 GB")]
)
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("p", "text"), [(None, "-"), (0.0321, "0.032"), (3.2e-5, "3e-05"), (0.0, "< 1e-99")]
)
def test_p_values(p: float | None, text: str) -> None:
    assert p_value(p) == text


def test_percentages_and_intervals() -> None:
    assert (percent(12.345), percent(None), percent(1.26, 1)) == ("12.35 %", "-", "1.3 %")
    assert (interval(1.0, 2.345), interval(None, 2.0)) == ("[1.00, 2.35]", "")


def test_an_age_is_in_days_after_two_days() -> None:
    now = datetime.now(UTC)
    assert age((now - timedelta(hours=3, minutes=5, seconds=1)).isoformat()) == "3 h 05 min"
    assert age((now - timedelta(days=12, hours=1)).isoformat()) == "12 days"
