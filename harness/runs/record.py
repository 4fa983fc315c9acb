"""The run folder is the record: `runs/<run_id>/` holds a finished run, `runs/<run_id>.unfinished/` any other.

    result.json             contract.Result
    scores.npz              keys, labels, scores of the test split; tune_scores.npz of the tune split
    state.safetensors       what the pipeline has learned
    spec.json               what was asked for: enough to run it again
    status.json             state (running, failed, stopped), process, phase: only until the run is finished
    log.txt                 what was printed
    pictures/               curves, confusion, filters
    mlflow.json             where MLflow shows it, once it does
    checkpoint/             the pipeline's own work in progress: only until the run is finished

A folder loses its suffix in one rename, when everything in it is complete. Reading a record imports no torch.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from harness.contract import TrainedRun
from harness.errors import UserError
from harness.files import arrays_bytes, write_atomic, write_json
from harness.runs.liveness import _started, _this_process
from harness.runs.result import Result, Scores

SUFFIX = ".unfinished"
STATUS = "status.json"
BEAT = 60.0  # seconds from one sign of life to the next
SILENCE = 600.0  # seconds without one after which a run of another machine is dead; clocks may differ by some of it
PICTURES = "pictures"


class Record:
    """One run's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def run_id(self) -> str:
        return self.folder.name.removesuffix(SUFFIX)

    @property
    def finished(self) -> bool:
        return not self.folder.name.endswith(SUFFIX)

    @property
    def state_file(self) -> Path:
        return self.folder / "state.safetensors"

    @cached_property
    def result(self) -> Result:
        """Raises UserError when the file is missing, damaged or of another version."""
        path = self.folder / "result.json"
        try:
            raw = json.loads(path.read_text())
            for name in ("notes", "remarks"):
                raw[name] = tuple(raw[name])
            if raw.get("augmentation") is not None:
                raw["augmentation"] = tuple(raw["augmentation"])
            raw["curves"] = {
                name: [(int(step), float(value)) for step, value in points]
                for name, points in raw["curves"].items()
            }
            raw.setdefault(
                "model_bytes", arrays_bytes(self.state_file)
            )  # recorded before this was kept
            return Result(**raw)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(path, error) from error

    @cached_property
    def spec(self) -> dict[str, Any]:
        """Raises UserError when the file is missing or damaged."""
        path = self.folder / "spec.json"
        try:
            return dict(json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise self._damaged(path, error) from error

    @property
    def readable(self) -> bool:
        with suppress(UserError):
            _ = self.spec, self.finished and self.result
            return True
        return False

    def _damaged(self, path: Path, error: Exception) -> UserError:
        return UserError(
            f"{path} cannot be read ({error}); remove the run with: harness runs rm {self.run_id}"
        )

    @property
    def status(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.folder / STATUS).read_text()))
        except (OSError, ValueError):
            return {}

    @property
    def state(self) -> str:
        """finished, tuned (ran with --no-test), running, dead (killed), stopped (Ctrl-C) or failed."""
        if self.finished:
            return "finished" if self.result.top1_error is not None else "tuned"
        status = self.status
        state = str(status.get("state", "dead"))
        return "dead" if state == "running" and not self._alive(status) else state

    @property
    def age_seconds(self) -> float:
        return max(0.0, datetime.now(UTC).timestamp() - self.folder.stat().st_mtime)

    def _alive(self, status: dict[str, Any]) -> bool:
        """Whether the process that wrote the status still runs; one on another machine does while its heart beats."""
        if status.get("host") != socket.gethostname():
            return time.time() - (self.folder / STATUS).stat().st_mtime < SILENCE
        # A process of the same number that started at another time is another process.
        started = _started(status["pid"]) if "pid" in status else None
        return started is not None and started == status.get("pid_started")

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Within it the time of the status file says that this process is there, for those who look from another machine."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(BEAT):
                with suppress(OSError):
                    os.utime(self.folder / STATUS)

        threading.Thread(target=beat, name="heartbeat", daemon=True).start()
        try:
            yield
        finally:
            done.set()

    def set_status(self, state: str, **facts: Any) -> None:
        before = {
            key: value for key, value in self.status.items() if key != "why"
        }  # that was of the state before
        write_json(self.folder / STATUS, {**before, "state": state, **_this_process(), **facts})

    def scores(self, name: str = "scores") -> Scores:
        """`scores` of the test split or `tune_scores`. Raises UserError when they are missing or damaged."""
        path = self.folder / f"{name}.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                return Scores(file["keys"], file["labels"], file["scores"])
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise self._damaged(path, error) from error

    def has_scores(self, name: str = "scores") -> bool:
        return (self.folder / f"{name}.npz").exists()

    def require_finished(self) -> None:
        """Raises UserError, with what finishes it, for a run that is not."""
        if not self.finished:
            raise UserError(
                f"run {self.run_id} is not finished ({self.state}); finish it with: harness run --resume {self.run_id}"
            )

    def trained_run(self) -> TrainedRun:
        """Raises UserError when the run is not finished, or is one that learns nothing itself."""
        from harness.files import load_arrays

        self.require_finished()
        if not self.state_file.exists():
            raise UserError(
                f"run {self.run_id} ({self.spec['pipeline']}) keeps no state to start from"
            )
        return TrainedRun(
            self.run_id,
            self.spec["title"],
            tuple(self.spec["class_names"]),
            load_arrays(self.state_file)[0],
        )

    def save_scores(self, scores: Scores, name: str = "scores") -> None:
        arrays = dataclasses.asdict(scores)
        write_atomic(self.folder / f"{name}.npz", lambda file: np.savez(file, **arrays))

    def save_log(self, lines: Sequence[str]) -> None:
        (self.folder / "log.txt").write_text(
            "".join(f"{line}\n" for line in lines), encoding="utf-8"
        )

    def save_links(self, table: str, run: str) -> None:
        """Where MLflow shows the table and this run, so that others can say it without asking MLflow."""
        write_json(self.folder / "mlflow.json", {"table": table, "run": run})

    @property
    def links(self) -> dict[str, str]:
        """What `save_links` kept; nothing where MLflow does not show the run."""
        path = self.folder / "mlflow.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def finish(self, result: Result) -> None:
        """Complete the record: result.json, then the rename that makes it one."""
        write_json(self.folder / "result.json", dataclasses.asdict(result))
        shutil.rmtree(self.folder / "checkpoint", ignore_errors=True)
        finished = self.folder.with_name(self.run_id)
        self.folder.replace(finished)
        self.folder = finished
        (self.folder / STATUS).unlink(missing_ok=True)


def new_run_id(name: str) -> str:
    return f"{name}-{secrets.token_hex(3)}"


class Runs:
    """All records below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self, name: str, spec: dict[str, Any]) -> Record:
        """A new running record, its id `<name>-<6 hex digits>`. Raises UserError where nothing can be written."""
        run_id = new_run_id(name)
        record = Record(self.folder / f".{run_id}{SUFFIX}")  # hidden until it can be resumed
        try:
            record.folder.mkdir(parents=True)
        except OSError as error:
            raise UserError(
                f"cannot write a run to {self.folder} ({error.strerror}); work in another folder or give --config"
            ) from error
        record.set_status(
            "running", phase="fit", started=datetime.now(UTC).isoformat(timespec="seconds")
        )
        write_json(record.folder / "spec.json", spec)
        record.folder = record.folder.rename(self.folder / f"{run_id}{SUFFIX}")
        return record

    def all(self) -> list[Record]:
        """Every record, the oldest first."""
        times = {}
        for folder in self.folder.glob("[!.]*") if self.folder.is_dir() else ():
            with suppress(FileNotFoundError):  # renamed meanwhile by the run that it is of
                times[folder] = folder.stat().st_mtime
        return [Record(f) for f in sorted(times, key=times.__getitem__) if f.is_dir()]

    def readable(self) -> list[Record]:
        """As `all`, less those that `harness runs` calls damaged: they are in nobody's way."""
        return [record for record in self.all() if record.readable]

    def finished(self) -> list[Record]:
        """Those that ended well, in the order in which they did."""
        return sorted(
            (record for record in self.readable() if record.finished),
            key=lambda record: record.result.finished,
        )

    def find(self, run_id: str) -> Record:
        """The record of that id, or of the one id that starts so. Raises UserError naming what there is."""
        records = self.all()
        found = [r for r in records if r.run_id == run_id] or [
            r for r in records if run_id and r.run_id.startswith(run_id)
        ]
        if len(found) == 1:
            return found[0]
        if found:
            raise UserError(f"{run_id!r} could be any of: {', '.join(r.run_id for r in found)}")
        latest = ", ".join(r.run_id for r in records[:-6:-1])
        raise UserError(
            f"no run is called {run_id!r} in {self.folder}; the latest are: {latest or 'none'} (harness runs lists all)"
        )

    def test_looks(self, name: str, test_digest: str) -> int:
        """How many finished runs of that pipeline have scored this test split."""
        results = [r.result for r in self.finished() if r.state == "finished"]
        return sum(r.name == name and r.test_digest == test_digest for r in results)
