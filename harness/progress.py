"""Progress on standard error: a bar on a terminal, else a line from time to time."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from harness.render.text import duration, printable

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 15.0


def progress(
    items: Iterable[T], *, label: str, total: int | None = None, unit: str = "batch"
) -> Iterator[T]:
    """Iterate over `items` and show how many are done, their rate and the time left.

    Parameters
    ----------
    items : iterable
    label : str
        What is being done.
    total : int, optional
        Number of items; default: their length, if they have one.
    unit : str, default "batch"
        Name of one item.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    shown = printable(label)
    return (_bar if sys.stderr.isatty() else _lines)(items, shown, total, printable(unit))


def _bar(items: Iterable[T], label: str, total: int | None, unit: str) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total, rate="")
        started = time.monotonic()
        for done, item in enumerate(items, 1):
            yield item
            bar.update(task, advance=1, rate=_rate(done, time.monotonic() - started, unit))


def _lines(items: Iterable[T], label: str, total: int | None, unit: str) -> Iterator[T]:
    started = last_line = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last_line < SECONDS_BETWEEN_LINES:
            continue
        last_line = now
        line = f"  {label}: {done}"
        if total:
            line += f" of {total}"
        line += f", {_rate(done, now - started, unit)}"
        if total:
            line += f", {duration((total - done) * (now - started) / done)} left"
        print(line, file=sys.stderr, flush=True)


def _rate(done: int, seconds: float, unit: str) -> str:
    rate = done / max(seconds, 1e-9)
    return f"{rate:,.0f} {unit}/s" if rate >= 10 else f"{rate:.2g} {unit}/s"
