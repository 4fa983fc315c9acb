"""All records below one folder."""

from __future__ import annotations

import os
import secrets
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from harness.commands import harness_command
from harness.errors import RecordWarning, UserError
from harness.runs.consistency import is_run_id
from harness.runs.record import SUFFIX, Record
from harness.runs.result import Result
from harness.runs.spec import RunSpec

LOCK_SECONDS = 60.0  # the lock is held for as long as it takes to read every result


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

    def finish(self, record: Record, result: Result) -> Result:
        """Finish a run and return its result with the number of test evaluations.

        Runs that end at the same time are counted one after the other.
        """
        with self._lock():
            earlier = self.test_evaluations(result.name, result.test_digest)
            tested = result.top1_error is not None
            result = replace(result, test_evaluations=earlier + tested)
            record.finish(result)
        return result

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Let one process at a time finish a run, where the file system has locks at all."""
        descriptor = None
        with suppress(ImportError, OSError):
            descriptor = os.open(self.folder, os.O_RDONLY)
            _wait_for_lock(descriptor)
        try:
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)  # which ends the lock

    def all(self) -> list[Record]:
        """Return every record, the oldest first.

        Raises
        ------
        UserError
            If the folder cannot be read.
        """
        times = {}
        for folder in self._subfolders():
            with suppress(OSError):  # renamed in the meantime by its run; a link that leads nowhere
                times[folder] = folder.stat().st_mtime
        return [Record(f) for f in sorted(times, key=times.__getitem__) if f.is_dir()]

    def _subfolders(self) -> list[Path]:
        try:
            folders = list(self.folder.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(
                f"the runs in {self.folder} cannot be read ({error.strerror}); "
                "work in another folder or give --config"
            ) from error
        return [folder for folder in folders if not folder.name.startswith(".")]

    def readable(self) -> list[Record]:
        """Return every record that can be used; a warning names each of the others."""
        return [record for record in self.all() if not _is_left_out(record)]

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
            if len(matches) > 1:  # a copied folder is no other run
                matches = [r for r in matches if r.readable] or matches
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise UserError(f"{run_id!r} could be any of: {', '.join(r.run_id for r in matches)}")
        latest = ", ".join(r.run_id for r in records[:-6:-1]) or "none"
        raise UserError(
            f"no run is called {run_id!r} in {self.folder}; the latest are: {latest} "
            f"({harness_command('runs')} lists all)"
        )

    def get(self, run_id: str) -> Record | None:
        """Return the record with this very id, damaged or not; None if there is no such folder."""
        if is_run_id(run_id):
            for folder in (self.folder / run_id, self.folder / f"{run_id}{SUFFIX}"):
                if folder.is_dir():
                    return Record(folder)
        return None

    def test_evaluations(self, name: str, test_digest: str) -> int:
        """Count the finished runs of pipeline `name` that have scored this test split.

        A renamed folder counts, and a copied one does not count again.
        """
        run_ids = set()
        for record in self.all():
            with suppress(UserError):
                result = record.recorded_result if record.finished else None
                if result and (result.name, result.test_digest) == (name, test_digest):
                    run_ids |= {result.run_id} if result.top1_error else set()
        return len(run_ids)


def _wait_for_lock(descriptor: int) -> None:
    """Lock an open file against other processes; after LOCK_SECONDS go on without."""
    import fcntl  # which Windows lacks

    give_up = time.monotonic() + LOCK_SECONDS
    while time.monotonic() < give_up:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(0.02)


def _is_left_out(record: Record) -> bool:
    """Return whether a record cannot be used, and warn of it."""
    try:
        record.check()
        return False
    except UserError as error:
        if record.folder.exists():  # else its run has renamed it in the meantime
            warnings.warn(f"left out: {error}", RecordWarning, stacklevel=3)
        return True


def new_run_id(name: str) -> str:
    return f"{name}-{secrets.token_hex(3)}"
