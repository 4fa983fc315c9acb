"""Draw a finished run's pictures and log it to MLflow; mark a failed run there."""

from __future__ import annotations

from harness.commands import harness_command
from harness.contract import HasFilters, Pipeline
from harness.engine.observer import RunObserver
from harness.errors import UserError
from harness.runs.record import Record
from harness.settings import Settings
from harness.tracking.log_run import log_failed_run, log_finished_run


class Publisher(RunObserver):
    """Draws the pictures of a finished run and logs it to MLflow.

    The run is no less finished where a picture cannot be drawn or MLflow cannot be written: a line
    then says why.

    Parameters
    ----------
    settings : Settings
    log : RunObserver
        Receives the lines.
    """

    def __init__(self, settings: Settings, log: RunObserver) -> None:
        self.settings = settings
        self.log = log

    def finished(self, record: Record, pipeline: Pipeline | None) -> None:
        try:
            from harness.report.pictures import draw_pictures

            draw_pictures(record, pipeline.filters if isinstance(pipeline, HasFilters) else dict)
        except Exception as error:  # whatever goes wrong in drawing, the figures are there
            self.log.line(f"pictures   not drawn: {type(error).__name__}: {error}")
        try:
            links = log_finished_run(record, self.settings)
            record.save_links(links.table, links.runs[record.run_id])
            self.log.line(f"MLflow     {links.table}")
        except Exception as error:  # whatever goes wrong in MLflow, the run is finished
            foreseen = isinstance(error, UserError | OSError)
            kind = "" if foreseen else f"{type(error).__name__}: "
            later = harness_command("sync")
            self.log.line(
                f"MLflow     not logged: {kind}{error}; the record is kept in {record.folder}, "
                f"and {later} sends it later"
            )

    def failed(self, record: Record, reason: str, *, stopped: bool) -> None:
        log_failed_run(record, self.settings, reason=reason, killed=stopped)
