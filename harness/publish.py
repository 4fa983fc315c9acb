"""A finished record drawn and shown in MLflow, or a line that says why it is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from harness.errors import UserError
from harness.report.pictures import Filters, draw_pictures
from harness.runs.record import Record
from harness.settings import Settings
from harness.tracking.log_run import track


def mirror(
    record: Record,
    settings: Settings,
    lines: Sequence[str],
    say: Callable[[str], None],
    *,
    filters: Filters = dict,
) -> None:
    """Draw the finished record's pictures and log it to MLflow; keep `lines` and what is said here as its log. Where a picture cannot be
    drawn or MLflow cannot be written the run is no less finished.

    filters  as for draw_pictures
    """
    last = []
    try:
        draw_pictures(record, filters)
    except Exception as error:  # whatever goes wrong in drawing, the figures are there
        last.append(f"pictures   not drawn: {type(error).__name__}: {error}")
    try:
        links = track(record.result, record.folder, settings)
        record.save_links(links.table, links.runs[record.run_id])
        last.append(f"MLflow     {links.table}")
    except (UserError, OSError) as error:
        last.append(
            f"MLflow     not logged: {error}; the record is kept in {record.folder}, and harness sync sends it later"
        )
    for line in last:
        say(line)
    with suppress(
        OSError
    ):  # the disk may be full by now, and the record is complete without MLflow's address
        record.save_log([*lines, *last])
