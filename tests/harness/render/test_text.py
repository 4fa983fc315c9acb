"""Quantities as plain text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from harness.render.text import (
    age,
    duration,
    interval,
    p_value,
    percent,
    printable,
    printable_lines,
    size,
)


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


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain name_1.jpg", "plain name_1.jpg"),
        ("café 寿司 🍕 عربى हिन्दी", "café 寿司 🍕 عربى हिन्दी"),
        ("no\N{NO-BREAK SPACE}break, wide\N{IDEOGRAPHIC SPACE}space",) * 2,
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("two\nlines\r\ttab", r"two\nlines\r\ttab"),
        ("nul\0 del\x7f c1\x9b", r"nul\x00 del\x7f c1\x9b"),
        ("gpj\u202ecod.exe", r"gpj\u202ecod.exe"),
        ("a\u200bb\u2060c\ufeffd\xade", r"a\u200bb\u2060c\ufeffd\xade"),
        ("\u2066x\u2069\u200e\u200f\u061c", r"\u2066x\u2069\u200e\u200f\u061c"),
        ("line\u2028 paragraph\u2029", r"line\u2028 paragraph\u2029"),
        ("\U000e0041tag", r"\U000e0041tag"),
        ("caf\udce9", r"caf\xe9"),  # latin-1 bytes of a file name
        ("half \ud800", r"half \ud800"),
        ("👨\u200d👩\u200d👧 می\u200cخواهم",) * 2,
        ("c\u200dat \u200d", r"c\u200dat \u200d"),
    ],
)
def test_what_is_not_seen_is_escaped(name: str, shown: str) -> None:
    assert printable(name) == shown
    assert printable(shown) == shown


def test_lines_stay_lines() -> None:
    assert printable_lines("a\x1b\nb\r\n") == "a\\x1b\nb\\r\n"
