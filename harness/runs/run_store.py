"""All records below one folder."""

from __future__ import annotations

import secrets
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from harness.commands import harness_command
from harness.errors import UserError
from harness.runs.record import SUFFIX, Record
from harness.runs.spec import RunSpec


class RunStore:
    """The records below `folder`, which need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self, name: str, spec: RunSpec) -> Record:
        """Start a record with a new id, `<name>-<6 hex digits>`, in state running.

        Raises
        ------
        UserError
            If nothing can be written to the folder.
        """
        run_id = new_run_id(name)
        record = Record(self.folder / f".{run_id}{SUFFIX}")  # hidden until it can be resumed
        try:
            record.folder.mkdir(parents=True)
        except OSError as error:
            raise UserError(
                f"cannot write a run to {self.folder} ({error.strerror}); "
                "work in another folder or give --config"
            ) from error
        started = datetime.now(UTC).isoformat(timespec="seconds")
        record.set_status("running", phase="fit", started=started)
        record.save_spec(spec)
        record.folder = record.folder.rename(self.folder / f"{run_id}{SUFFIX}")
        return record

    def all(self) -> list[Record]:
        """Return every record, the oldest first."""
        times = {}
        for folder in self.folder.glob("[!.]*") if self.folder.is_dir() else ():
            with suppress(FileNotFoundError):  # renamed in the meantime by its run
                times[folder] = folder.stat().st_mtime
        return [Record(f) for f in sorted(times, key=times.__getitem__) if f.is_dir()]

    def readable(self) -> list[Record]:
        """Return every record except the damaged ones, which `harness runs` names."""
        return [record for record in self.all() if record.readable]

    def finished(self) -> list[Record]:
        """Return the finished records in the order in which they finished."""
        finished = [record for record in self.readable() if record.finished]
        return sorted(finished, key=lambda record: record.result.finished)

    def find(self, run_id: str) -> Record:
        """Return the record with this id, or the only one whose id starts with it.

        Raises
        ------
        UserError
            If there is no such record or more than one.
        """
        records = self.all()
        matches = [r for r in records if r.run_id == run_id]
        if not matches and run_id:
            matches = [r for r in records if r.run_id.startswith(run_id)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise UserError(f"{run_id!r} could be any of: {', '.join(r.run_id for r in matches)}")
        latest = ", ".join(r.run_id for r in records[:-6:-1]) or "none"
        raise UserError(
            f"no run is called {run_id!r} in {self.folder}; the latest are: {latest} "
            f"({harness_command('runs')} lists all)"
        )

    def test_evaluations(self, name: str, test_digest: str) -> int:
        """Count the finished runs of pipeline `name` that have scored this test split."""
        results = [record.result for record in self.finished() if record.state == "finished"]
        return sum(r.name == name and r.test_digest == test_digest for r in results)


def new_run_id(name: str) -> str:
    return f"{name}-{secrets.token_hex(3)}"
