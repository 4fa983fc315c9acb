"""A finished record shown in MLflow, or a line that says why it is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from harness.errors import UserError
from harness.record import Record
from harness.settings import Settings
from harness.tracking import track


def mirror(record: Record, settings: Settings, lines: Sequence[str], say: Callable[[str], None]) -> None:
    """Log the record to MLflow, and keep `lines` and what is said here as its log. Where MLflow cannot be written the run is no less finished."""
    try:
        links = track(record.result, record.folder, settings)
        record.save_links(links.table, links.runs[record.run_id])
        last = f"MLflow     {links.table}"
    except (UserError, OSError) as error:
        last = f"MLflow     not logged: {error}; the record is kept in {record.folder}, and harness sync sends it later"
    say(last)
    with suppress(OSError):  # the disk may be full by now, and the record is complete without MLflow's address
        record.save_log([*lines, last])
