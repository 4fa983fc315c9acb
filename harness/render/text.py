"""Plain text: quantities and tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime


def size(count: float) -> str:
    """Bytes, in powers of ten."""
    return (
        f"{count / 1e9:.1f} GB"
        if count >= 1e9
        else f"{count / 1e6:.1f} MB"
        if count >= 1e6
        else f"{count / 1e3:.1f} kB"
    )


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Aligned columns; the first `left` to the left, the others to the right."""
    table = [list(head), *map(list, rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        return "  ".join(
            c.ljust(w) if i < left else c.rjust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()

    return "\n".join(
        [line(table[0]), "  ".join("-" * width for width in widths), *map(line, table[1:])]
    )


def duration(seconds: float) -> str:
    """`4.2 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


def percent(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f} %"


def interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{low:.2f}, {high:.2f}]"


def p_value(p: float | None) -> str:
    return (
        "-" if p is None else f"{p:.3f}" if p >= 0.001 else f"{p:.0e}" if p > 1e-99 else "< 1e-99"
    )


def age(finished: str) -> str:
    return duration((datetime.now(UTC) - datetime.fromisoformat(finished)).total_seconds())
